"""Stage: a movie by which a person sees at once whether a solve is right.

Left, the plate with what the scene claims to know drawn over it: lines of constant world coordinates on the static
mesh and the ground (they must stick to floors and walls; where they slide, the solve swims), solved points (green:
exact, red: ``BAD_PX`` off) and outlines of what moves. Right, depth: near is warm, far is cold, what is not known
surely is grey.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from geometry.camera import Camera, pixel_centres
from geometry.scene import DepthMap, FrameSource, Scene4D, SparsePoints
from services.media import images
from services.media.contact_sheet import Tile, contact_sheet, evenly
from services.media.encode import VideoWriter
from services.pipelines.context import Artifact, Report
from services.pipelines.scene_grid import Grid, View, sparse_subset, world_grid

Array = np.ndarray

WIDEST_PX = 1920
SHOWN = 6
SURE = (0.15, 0.45)  # confidence at which colour begins, and is full
BAD_PX = 1.5
LEVEL_RGB, UPRIGHT_RGB = (255, 214, 64), (70, 225, 255)  # lines of constant height, and the others
MOVER_RGB = ((255, 64, 160), (120, 255, 80), (255, 140, 40), (170, 130, 255), (255, 255, 255))
INK_RGB = (240, 240, 240)


@dataclass(frozen=True)
class PreviewConfig:
    frames: tuple[int, int]
    rate: str
    title: str  # of the contact sheet; empty = none is made, as insert makes its own


def preview_scene(
    *, out: Path, config: PreviewConfig, report: Report, scene: Scene4D, clip: FrameSource | None = None, **_: Artifact
) -> None:
    """Writes ``preview.mp4`` and ``contact_sheet.png``. Without a clip the scene's own shape takes its place."""
    frames, (w, h) = scene.cameras.frames, _half_wh(scene.working_wh)
    near, median, far = _depth_range(scene)
    grid, points = world_grid(scene, median), sparse_subset(scene, median)
    shown = {frames[i] for i in evenly(len(frames), SHOWN)}
    tiles: list[Tile] = []
    with VideoWriter(out / "preview.mp4", (2 * w, h), Fraction(config.rate), "h264_quick") as movie:
        for i, frame in enumerate(frames):
            depth = _resized(scene.depth.read(frame), (w, h))
            view = View.of(scene, frame, depth)
            plate = shaded(depth.depth, view.camera) if clip is None else clip.display(frame, (w, h))
            left = with_points(with_grid(plate, view, grid), view, points, frame)
            right = depth_picture(depth, near, far)
            if scene.motion is not None:
                labels = cv2.resize(scene.motion.read(frame), (w, h), interpolation=cv2.INTER_NEAREST_EXACT)
                left, right = outlined(left, labels), outlined(right, labels)
            left = with_caption(left, f"frame {frame}   grid step {grid.step:g}{' m' if scene.scale_known else ''}")
            movie.write(np.hstack([left, right]))
            if config.title and frame in shown:
                tiles += [Tile(f"frame {frame}", left), Tile("depth", right)]
            report(i + 1, len(frames), left)
    if config.title:
        images.write_picture(out / "contact_sheet.png", contact_sheet(tiles, config.title, columns=4))


def with_grid(plate: Array, view: View, grid: Grid) -> Array:
    """(H, W, 3) uint8: the plate, a little darker, under the lines that this view sees."""
    picture = cv2.convertScaleAbs(plate, alpha=0.8)
    px, index = view.shows(grid.xyz)
    for level, colour in ((True, LEVEL_RGB), (False, UPRIGHT_RGB)):
        cover = np.minimum(1.5 * _splat(px[grid.is_level[index] == level], view.camera.hw), 0.8)
        drawn = cover > 0
        share = cover[drawn][:, None]
        picture[drawn] = (picture[drawn] * (1 - share) + np.array(colour, np.float32) * share).astype(np.uint8)
    return picture


def with_points(picture: Array, view: View, points: SparsePoints, frame: int) -> Array:
    """Dots, coloured by error, where the frame saw solved points."""
    picture, seen = np.ascontiguousarray(picture), np.ones(len(points.xyz), bool)
    if points.seen is not None:
        seen = (points.seen[:, 0] <= frame) & (frame <= points.seen[:, 1])
    px, index = view.shows(points.xyz[seen])
    for (x, y), colour in zip(px, error_colours(points.error_px[seen][index]), strict=True):
        cv2.circle(picture, (int(x), int(y)), 2, colour, -1, cv2.LINE_AA)
    return picture


def error_colours(error_px: Array) -> list[tuple[int, int, int]]:
    """Green at 0, yellow half way, red from ``BAD_PX`` on."""
    share = np.clip(error_px / BAD_PX, 0, 1)
    red, green = np.minimum(2 * share, 1), np.minimum(2 - 2 * share, 1)
    return [(int(255 * r), int(255 * g), 40) for r, g in zip(red, green, strict=True)]


def depth_picture(depth: DepthMap, near: float, far: float) -> Array:
    """(H, W, 3) uint8: near is warm, far is cold, by inverse depth; grey where unsure, black where unknown."""
    inverse = np.divide(1.0, depth.depth, out=np.zeros_like(depth.depth), where=depth.depth > 0)
    levels = cv2.convertScaleAbs(inverse - 1 / far, alpha=255 / (1 / near - 1 / far)) * (inverse > 1 / far)
    coloured = cv2.applyColorMap(levels, cv2.COLORMAP_TURBO)[..., ::-1]
    grey = cv2.cvtColor(cv2.convertScaleAbs(levels, alpha=0.35, beta=60), cv2.COLOR_GRAY2RGB)
    sure = np.clip((depth.confidence - SURE[0]) / (SURE[1] - SURE[0]), 0, 1)
    known = (depth.depth > 0).astype(np.float32)
    return cv2.blendLinear(np.ascontiguousarray(coloured), grey, known * sure, known * (1 - sure))


def outlined(picture: Array, labels: Array) -> Array:
    """The picture with a coloured, numbered line around everything that moves by itself."""
    picture = np.ascontiguousarray(picture)
    for label in np.unique(labels[labels > 0]):
        colour = MOVER_RGB[(int(label) - 1) % len(MOVER_RGB)]
        around, _ = cv2.findContours((labels == label).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, around, -1, colour, 2, cv2.LINE_AA)
        x, y, _, _ = cv2.boundingRect(max(around, key=cv2.contourArea))
        cv2.putText(picture, str(label), (x, max(y - 5, 14)), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
    return picture


def shaded(depth: Array, camera: Camera) -> Array:
    """(H, W, 3) uint8: the surface that a depth map describes, lit from the camera.

    On a plane ``n . X = 1`` inverse depth is ``n . (x, y, 1)``: its slopes in x and y are the normal's.
    """
    inverse = np.divide(1.0, depth, out=np.zeros_like(depth), where=depth > 0)
    x, y = np.moveaxis(camera.normalized_from_px(pixel_centres(camera.wh)).astype(np.float32), -1, 0)
    down, across = np.gradient(inverse)
    nx, ny = camera.fx * across, camera.fy * down
    length = np.sqrt((nx**2 + ny**2 + (inverse - x * nx - y * ny) ** 2) * (1 + x**2 + y**2))
    facing = np.divide(inverse, length, out=np.zeros_like(depth), where=depth > 0)
    return cv2.cvtColor(np.where(depth > 0, 50 + 170 * facing, 24).astype(np.uint8), cv2.COLOR_GRAY2RGB)


def with_caption(picture: Array, text: str) -> Array:
    """In the lower left corner, readable on anything."""
    (w, h), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
    foot = picture.shape[0] - below - 6
    picture[foot - h - 6 :, : w + 16] //= 4
    return cv2.putText(picture, text, (8, foot), cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK_RGB, 1, cv2.LINE_AA)


def _splat(px: Array, hw: tuple[int, int]) -> Array:
    """(H, W) float32: each point's weight of 1, shared by its four nearest pixels."""
    h, w = hw
    corner = np.floor(px - 0.5).astype(int)
    share = px - 0.5 - corner
    out = np.zeros(h * w)
    for dx in (0, 1):
        for dy in (0, 1):
            x, y = np.clip(corner[:, 0] + dx, 0, w - 1), np.clip(corner[:, 1] + dy, 0, h - 1)
            weight = np.abs(1 - dx - share[:, 0]) * np.abs(1 - dy - share[:, 1])
            out += np.bincount(y * w + x, weight, minlength=h * w)
    return out.reshape(h, w).astype(np.float32)


def _depth_range(scene: Scene4D) -> tuple[float, float, float]:
    """Near, median and far depth over the whole clip, so that colours do not pump."""
    frames = scene.cameras.frames
    maps = [scene.depth.read(frames[i]) for i in evenly(len(frames), SHOWN)]
    known = np.concatenate([m.depth[::8, ::8][m.depth[::8, ::8] > 0] for m in maps])
    if len(known) == 0:
        return 1.0, 1.5, 2.0
    near, median, far = np.percentile(known, (1, 50, 99))
    return float(near), float(median), float(max(far, near * 1.001))


def _resized(found: DepthMap, wh: tuple[int, int]) -> DepthMap:
    """Values are taken, never mixed across an edge."""
    if found.depth.shape == (wh[1], wh[0]):
        return found
    return DepthMap(*(cv2.resize(a, wh, interpolation=cv2.INTER_NEAREST_EXACT)
                      for a in (found.depth, found.confidence)))


def _half_wh(working_wh: tuple[int, int]) -> tuple[int, int]:
    scale = min(1.0, WIDEST_PX / 2 / working_wh[0])
    return max(1, round(working_wh[0] * scale)), max(1, round(working_wh[1] * scale))

