"""Clips of the small scene with everything known: plate, true composite, masks, change, depth, flow, cameras.

    hero = place_hero(path, frame=0, yaw_deg=-25)
    render_truth(make_scene(), path, path.frames, out, with_object=hero, spp=24, seed=1)

leaves in ``out`` (pictures ``%04d.png`` 8-bit sRGB unless said otherwise):

    plate/      without the hero                      composite/  with it: what an ideal insertion gives
    coverage/   hero's share of each pixel, unhidden  visible/    the same behind what hides it
    change/     0 or 255: |with - without| > .02      ids/        object ids at pixel centres, without the hero
    depth/      .exr, without the hero                depth_with/ .exr, with it
    flow/       .exr X, Y: px to the next frame of the static scene, without the hero
    cameras.json  hero.glb  sky.exr  truth.json (what the command line must be told, and anchors in every frame)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from examples.hero import hero_object, write_hero_glb
from examples.small_scene import SPOT, SUN_DIRECTION, SmallScene, heading, sky
from examples.solids import turned
from geometry import frames as camera_files
from geometry import rigid
from geometry.mesh import Mesh
from geometry.render import make_renderer
from geometry.render.base import Environment, Instance, Renderer, RenderScene, View
from geometry.trajectory import CameraPath
from services.media import exr, images
from services.media.colour import quantized, srgb_from_linear

Array = np.ndarray
Crop = tuple[int, int, int, int]

HERO_ID = 100
UP = np.array([0.0, 1.0, 0.0])
CHANGE = 0.02  # linear light
SMOOTH_PX = 2.0  # path-tracing noise is averaged over this width before a change counts
MAX_DEPTH = 5  # three bounces: in a warm room each one still adds percents
SHUTTER_DEG = 180.0


@dataclass(frozen=True)
class HeroPlacement:
    """The hero on the floor, in the words of the command line and as a matrix that they reproduce exactly."""

    frame: int
    at_px: tuple[float, float]
    height_px: float
    yaw_deg: float
    world_from_object: Array  # (4, 4)
    meshes: tuple[Mesh, ...]

    @property
    def instance(self) -> Instance:
        return Instance(self.meshes, self.world_from_object, HERO_ID)

    @property
    def anchors(self) -> Array:
        """(5, 3) world points to measure drift at: the base, and the corners of its box's bottom face."""
        lower, upper = _bounds(self.meshes)
        corners = [(0, 0, 0), *((x, 0, z) for x in (lower[0], upper[0]) for z in (lower[2], upper[2]))]
        return rigid.transform(self.world_from_object, np.array(corners))


def place_hero(path: CameraPath, *, frame: int, yaw_deg: float = 0.0, spot: Array = SPOT) -> HeroPlacement:
    """Stand the hero on ``spot``; yaw 0 looks along the horizontal direction to the camera of ``frame``."""
    meshes = hero_object()
    camera, pose = path.camera(frame), path.pose(frame)
    to_camera = rigid.inverse(pose)[:3, 3] - spot
    facing = np.arctan2(to_camera[0], to_camera[2])  # a turn about +Y that takes +Z there
    world_from_object = turned(facing + np.radians(yaw_deg), spot)
    height = _bounds(meshes)[1][1]
    base, top = camera.px_from_cam(rigid.transform(pose, np.stack([spot, spot + height * UP])))
    return HeroPlacement(
        frame, (float(base[0]), float(base[1])), float(np.linalg.norm(top - base)), yaw_deg, world_from_object, meshes
    )


def _bounds(meshes: Iterable[Mesh]) -> tuple[Array, Array]:
    points = np.concatenate([mesh.vertices for mesh in meshes])
    return points.min(0), points.max(0)


def render_truth(
    scene: SmallScene,
    path: CameraPath,
    frames: Iterable[int],
    out_dir: Path,
    *,
    with_object: HeroPlacement | None,
    spp: int,
    seed: int,
    shutter_samples: int = 1,
    grain_sigma: float = 0.0,
    renderer: Renderer | None = None,
    report: Callable[[int, int], None] | None = None,
) -> None:
    """Render ``frames`` of ``path`` into ``out_dir``; without ``with_object`` only what needs no hero.

    ``shutter_samples`` > 1 opens the shutter for 180 degrees, centred on the frame. ``grain_sigma`` is the deviation of
    white grain in sRGB, of 1; plate and composite carry the same grain. ``report(done, total)`` after every frame.
    """
    studio = _Studio(scene, path, with_object, spp, seed, shutter_samples, grain_sigma, renderer or make_renderer())
    frames = tuple(frames)
    out_dir.mkdir(parents=True, exist_ok=True)
    _write_facts(out_dir, path.select(frames), with_object, studio.environment)
    for done, frame in enumerate(frames, 1):
        studio.write_plate(out_dir, frame)
        if report is not None:
            report(done, len(frames))


def _write_facts(out: Path, path: CameraPath, hero: HeroPlacement | None, environment: Environment) -> None:
    (out / "cameras.json").write_text(json.dumps(camera_files.cameras_json_from_path(path), indent=1))
    images.write_latlong(out / "sky.exr", environment.radiance)
    if hero is None:
        return
    write_hero_glb(out / "hero.glb")
    anchors = {str(f): path.camera(f).px_from_cam(rigid.transform(path.pose(f), hero.anchors)).tolist()
               for f in path.frames}
    facts = {
        "at_px": hero.at_px, "frame": hero.frame, "height_px": hero.height_px, "yaw_deg": hero.yaw_deg,
        "world_from_object": hero.world_from_object.tolist(), "anchors_world": hero.anchors.tolist(),
        "anchors_px": anchors,
    }
    (out / "truth.json").write_text(json.dumps(facts, indent=1))


class _Studio:
    """One scene, with and without the hero, lit and filmed."""

    def __init__(
        self, scene: SmallScene, path: CameraPath, hero: HeroPlacement | None, spp: int, seed: int,
        shutter_samples: int, grain_sigma: float, renderer: Renderer,
    ) -> None:
        self.path, self.hero, self.spp, self.seed = path, hero, spp, seed
        self.shutter_samples, self.grain_sigma, self.renderer = shutter_samples, grain_sigma, renderer
        self.environment = sky(heading(path.pose(hero.frame if hero else path.frames[0])))
        self.empty = RenderScene(scene.instances, self.environment)
        if hero is not None:
            self.full = RenderScene((*scene.instances, hero.instance), self.environment)
            self.alone = RenderScene((hero.instance,), self.environment)

    def write_plate(self, out: Path, frame: int) -> None:
        """Everything about one frame."""
        view, seed = self._view(frame), self._seed(frame, 0)
        plate = self.renderer.trace(self.empty, view, objects=[], spp=self.spp, seed=seed, max_depth=MAX_DEPTH).rest_rgb
        images.write_picture(out / "plate" / f"{frame:04d}.png", self._developed(plate, frame))
        seen = self.renderer.gbuffer(self.empty, self._still(frame))
        exr.write_depth(out / "depth" / f"{frame:04d}.exr", seen.depth)
        images.write_picture(out / "ids" / f"{frame:04d}.png", seen.object_id.astype(np.uint8))
        self._write_flow(out, frame, seen.position, seen.depth > 0)
        if self.hero is not None:
            self._write_with_hero(out, frame, view, seed, plate)

    def _write_with_hero(self, out: Path, frame: int, view: View, seed: int, plate: Array) -> None:
        name = f"{frame:04d}.png"
        crop = self._changing_part(frame)
        composite, visible, coverage = plate.copy(), np.zeros(plate.shape[:2]), np.zeros(plate.shape[:2])
        if crop is not None:
            # The same seed repeats the plate's samples inside a crop: only paths that meet the hero differ.
            full = self.renderer.trace(
                self.full, view, objects=[HERO_ID], spp=self.spp, seed=seed, max_depth=MAX_DEPTH, crop=crop)
            alone = self.renderer.trace(
                self.alone, view, objects=[HERO_ID], spp=self.spp, seed=seed, max_depth=1, crop=crop)
            inside = np.s_[crop[1] : crop[3], crop[0] : crop[2]]
            composite[inside] = (full.object_rgb + full.rest_rgb)[inside]
            visible, coverage = full.object_alpha, alone.object_alpha
        images.write_picture(out / "composite" / name, self._developed(composite, frame))
        images.write_mask(out / "visible" / name, visible)
        images.write_mask(out / "coverage" / name, coverage)
        images.write_mask(out / "change" / name, change_matte(composite, plate, visible))
        with_hero = self.renderer.gbuffer(self.full, self._still(frame))
        exr.write_depth(out / "depth_with" / f"{frame:04d}.exr", with_hero.depth)

    def _write_flow(self, out: Path, frame: int, position: Array, known: Array) -> None:
        """The scene stands still, so its flow is where its points lie in the next frame; 0 on the sky."""
        if frame + 1 not in self.path:
            return
        camera = self.path.camera(frame)
        points = position.astype(np.float64)
        flow = camera.px_from_cam(rigid.transform(self.path.pose(frame + 1), points)) - camera.px_from_cam(
            rigid.transform(self.path.pose(frame), points))
        flow = np.where(known[..., None] & np.isfinite(flow), flow, 0).astype(np.float32)
        exr.write_channels(out / "flow" / f"{frame:04d}.exr", {"X": flow[..., 0], "Y": flow[..., 1]})

    def _still(self, frame: int) -> View:
        return View(self.path.camera(frame), (self.path.pose(frame),))

    def _view(self, frame: int) -> View:
        times = shutter_times(frame, self.shutter_samples)
        return View(self.path.camera(frame), tuple(self.path.pose_between(time) for time in times))

    def _seed(self, frame: int, draw: int) -> int:
        return frame_seed(self.seed, frame, draw)

    def _developed(self, linear: Array, frame: int) -> Array:
        return developed(linear, self.grain_sigma, self.seed, frame)

    def _changing_part(self, frame: int) -> Crop | None:
        """Pixels around the hero and the floor as far as its shadow falls; None when all lie outside the picture."""
        assert self.hero is not None
        (x0, _, z0), (x1, top, z1) = _bounds(self.hero.meshes)
        box = np.array([(x, y, z) for x in (1.6 * x0, 1.6 * x1) for y in (0, 1.1 * top) for z in (1.6 * z0, 1.6 * z1)])
        points = rigid.transform(self.hero.world_from_object, box)
        shadow = points - SUN_DIRECTION * (points[:, 1:2] / SUN_DIRECTION[1])
        points = np.concatenate([points, shadow])
        px = self.path.camera(frame).px_from_cam(rigid.transform(self.path.pose(frame), points))
        px = px[np.isfinite(px).all(-1)]
        w, h = self.path.camera(frame).wh
        if len(px) == 0:
            return None
        x0, y0 = (max(int(v), 0) for v in np.floor(px.min(0)))
        x1, y1 = (min(int(v), side) for v, side in zip(np.ceil(px.max(0)), (w, h), strict=True))
        return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def shutter_times(frame: int, samples: int) -> Array:
    """(samples,) frame numbers at which a shutter of 180 degrees, centred on the frame, is sampled."""
    return frame + ((np.arange(samples) + 0.5) / samples - 0.5) * SHUTTER_DEG / 360


def frame_seed(seed: int, frame: int, draw: int) -> int:
    """For one picture of a clip; ``draw`` tells the pictures of a frame apart."""
    return int(np.random.SeedSequence([seed, frame, draw]).generate_state(1)[0])


def developed(linear: Array, grain_sigma: float, seed: int, frame: int) -> Array:
    """(H, W, 3) uint8 sRGB of linear light, with the frame's white grain of deviation ``grain_sigma`` in sRGB."""
    code = srgb_from_linear(np.clip(linear, 0, 1))
    if grain_sigma > 0:
        code = code + grain_sigma * np.random.default_rng([seed, frame, 1]).standard_normal(code.shape)
    return quantized(code, np.dtype(np.uint8))


def change_matte(composite: Array, plate: Array, visible: Array) -> Array:
    """(H, W) 1 where the hero is seen, or where light on the rest changed by more than ``CHANGE`` in any channel.

    The change is averaged over the neighbours that are not the hero, since a single pixel's difference is part noise.
    """
    rest = (visible == 0).astype(np.float32)
    change = cv2.GaussianBlur((composite - plate) * rest[..., None], (0, 0), SMOOTH_PX)
    weight = np.maximum(cv2.GaussianBlur(rest, (0, 0), SMOOTH_PX), 1e-3)
    changed = np.abs(change / weight[..., None]).max(-1) > CHANGE
    return np.where(rest > 0, changed, visible > CHANGE).astype(np.float32)
