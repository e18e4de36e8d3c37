"""Lines of constant world coordinates on a scene's surfaces, as fine dots that any frame can be asked to show.

Such lines stick to floors and walls when cameras and mesh are right; where they slide, the solve swims. Depth is
z-depth, world coordinates are in scene units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geometry import rigid
from geometry.camera import Camera, pixel_centres
from geometry.scene import DepthMap, Scene4D, SparsePoints
from services.media.contact_sheet import evenly

Array = np.ndarray

CELLS = 18  # across the picture at the scene's median depth
MOST_SAMPLES = 150_000
FAR = 3.0  # median depths; nothing is drawn beyond
PIECES = 4  # of a cell's side, each sampled or left out as a whole
MOST_PIECES = 1_000_000
LOOKED_AT = 32  # frames that decide what is seen at all
SLACK = 0.01  # what lies this share behind a depth map that is sure is hidden


@dataclass(frozen=True)
class Grid:
    """Samples along the lines in which planes of constant world x, y and z cut the mesh and the ground."""

    step: float  # between planes, in scene units
    xyz: Array  # (N, 3) world
    is_level: Array  # (N,) bool: on a plane of constant y


@dataclass(frozen=True)
class View:
    """A frame's camera and (H, W) the ``farthest`` z-depth that its pixels show, errors of depth allowed for."""

    camera: Camera
    camera_from_world: Array
    farthest: Array

    @classmethod
    def of(cls, scene: Scene4D, frame: int, depth: DepthMap) -> View:
        """On the raster of ``depth``; what is unknown hides nothing."""
        slack = SLACK + 1.5 * (1 - depth.confidence) / 10  # confidence is 1 - 10 x the expected relative error
        farthest = np.where(depth.depth > 0, depth.depth * (1 + slack), np.inf)
        wh = depth.depth.shape[1], depth.depth.shape[0]
        return cls(scene.cameras.camera(frame).scaled(wh), scene.cameras.pose(frame), farthest)

    def shows(self, xyz: Array) -> tuple[Array, Array]:
        """(K, 2) pixels and (K,) indices of the (N, 3) world points that are seen."""
        camera, local = self.camera, rigid.transform(self.camera_from_world, xyz)
        # Far outside the picture lens polynomials fold back: such points are dropped before they are bent.
        reach = 0.8 * np.array(camera.wh) / (camera.fx, camera.fy)
        near = np.flatnonzero((np.abs(local[:, :2]) < reach * local[:, 2:]).all(1))
        px = camera.px_from_cam(local[near])
        inside = ((px >= 0) & (px < camera.wh)).all(1)
        near, px = near[inside], px[inside]
        x, y = px.astype(int).T
        free = local[near, 2] < self.farthest[y, x]
        return px[free], near[free]


def world_grid(scene: Scene4D, median_depth: float) -> Grid:
    """Lines a round number of units apart, sampled about as densely as pixels lie at ``median_depth``."""
    step, px = _grid_step(scene, median_depth), median_depth / scene.cameras.cameras[0].fx
    box = _seen_box(scene, FAR * median_depth)
    triangles = _surfaces(scene, box)
    per_axis = [_inside(_cuts(triangles, axis, step, box), box) for axis in range(3)]
    axis = np.repeat(np.arange(3), [len(lines) for lines in per_axis])
    lines = np.concatenate(per_axis)
    pieces, line = _split(lines, max(step / PIECES, _length(lines) / MOST_PIECES))
    shown = _ever_visible(pieces.mean(1), scene)
    pieces, line = pieces[shown], line[shown]
    samples, piece = _split(pieces, max(0.8 * px, _length(pieces) / MOST_SAMPLES))
    return Grid(step, samples.mean(1), axis[line[piece]] == 1)


def sparse_subset(scene: Scene4D, median_depth: float) -> SparsePoints:
    """Of each cell of the grid the point that was followed longest."""
    points, cell = scene.points, _grid_step(scene, median_depth)
    order = np.argsort(-points.track_length, kind="stable")
    order = order[np.isfinite(points.xyz[order]).all(1)]
    _, first = np.unique(np.floor(points.xyz[order] / cell).astype(np.int64), axis=0, return_index=True)
    keep = order[first]
    seen = None if points.seen is None else points.seen[keep]
    return SparsePoints(points.xyz[keep], points.error_px[keep], points.track_length[keep], seen)


def _grid_step(scene: Scene4D, median_depth: float) -> float:
    lens = scene.cameras.cameras[0]
    return round_number(median_depth * lens.wh[0] / lens.fx / CELLS)


def _seen_box(scene: Scene4D, farthest: float) -> Array:
    """(2, 3) lowest and highest corner of what the cameras see nearer than ``farthest``, and of the cameras."""
    frames, corners = scene.cameras.frames, [scene.cameras.centres]
    px = pixel_centres(scene.working_wh)[8::16, 8::16]
    for i in evenly(len(frames), LOOKED_AT):
        depth = scene.depth.read(frames[i]).depth[8::16, 8::16]
        near = (depth > 0) & (depth < farthest)
        local = scene.cameras.camera(frames[i]).rays_from_px(px)[near] * depth[near, None]
        corners.append(rigid.transform(rigid.inverse(scene.cameras.pose(frames[i])), local))
    seen = np.concatenate(corners)
    return np.stack([seen.min(0), seen.max(0)])


def _surfaces(scene: Scene4D, box: Array) -> Array:
    """(T, 3, 3) corners of the mesh's triangles, and of two that are the ground within ``box``."""
    triangles = [np.zeros((0, 3, 3))]
    if scene.mesh is not None:
        triangles.append(scene.mesh.vertices[scene.mesh.faces])
    if scene.ground is not None:
        (x0, y, z0), (x1, _, z1) = box
        corners = np.array([(x0, y, z0), (x0, y, z1), (x1, y, z1), (x1, y, z0)])
        corners -= scene.ground.distance(corners)[:, None] * scene.ground.normal
        triangles.append(corners[[[0, 1, 2], [0, 2, 3]]])
    return np.concatenate(triangles)


def round_number(value: float) -> float:
    """The largest of 1, 2, 5 x 10^n that is not above ``value``."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(power * max(n for n in (1, 2, 5) if n * power <= value * (1 + 1e-9)))


def _cuts(triangles: Array, axis: int, step: float, box: Array) -> Array:
    """(S, 2, 3) ends of the lines in which planes ``axis = k * step`` through ``box`` cut (T, 3, 3) triangles.

    Triangles that nearly lie in such a plane are left out: noise would scribble over them.
    """
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    facing = np.abs(normal[:, axis]) > 0.9 * np.linalg.norm(normal, axis=1)
    triangles = triangles[~facing]
    height = triangles[..., axis] / step
    low, high = box[:, axis] / step
    first = np.ceil(np.maximum(height.min(1), low)).astype(int)
    counts = np.maximum(np.floor(np.minimum(height.max(1), high)).astype(int) - first + 1, 0)
    which = np.repeat(np.arange(len(triangles)), counts)
    plane = first[which] + _count_up(counts)
    corners, above = triangles[which], height[which] - plane[:, None]
    # The corner that is alone on its side of the plane; the line runs between the two edges that meet in it.
    is_up = above > 0
    lone = np.where(is_up.sum(1) == 1, is_up.argmax(1), (~is_up).argmax(1))
    crossed = is_up.any(1) & ~is_up.all(1)
    rows = np.arange(len(which))
    apex, apex_above = corners[rows, lone], above[rows, lone]
    ends = []
    for turn in (1, 2):
        other = (lone + turn) % 3
        share = np.divide(apex_above, apex_above - above[rows, other], out=np.zeros(len(rows)), where=crossed)
        ends.append(apex + share[:, None] * (corners[rows, other] - apex))
    return np.stack(ends, 1)[crossed]


def _inside(lines: Array, box: Array) -> Array:
    """The parts of (N, 2, 3) lines within ``box``, widened a little for those that run along its faces."""
    margin = 1e-6 * np.ptp(box, axis=0).max()
    begin, way = lines[:, 0], lines[:, 1] - lines[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        cut = np.sort((np.stack([box[0] - margin, box[1] + margin])[:, None] - begin) / way, axis=0)
    start, end = np.fmax.reduce(cut[0], 1).clip(min=0), np.fmin.reduce(cut[1], 1).clip(max=1)
    keep = start < end
    begin, way = begin[keep], way[keep]
    return np.stack([begin + start[keep, None] * way, begin + end[keep, None] * way], 1)


def _length(lines: Array) -> float:
    return float(np.linalg.norm(lines[:, 1] - lines[:, 0], axis=1).sum())


def _split(lines: Array, length: float) -> tuple[Array, Array]:
    """(M, 2, 3) equal parts, about ``length`` long, of (N, 2, 3) lines, and (M,) which line each is of."""
    counts = np.maximum(np.rint(np.linalg.norm(lines[:, 1] - lines[:, 0], axis=1) / length).astype(int), 1)
    line = np.repeat(np.arange(len(lines)), counts)
    start = (_count_up(counts) / counts[line])[:, None]
    begin, way = lines[line, 0], lines[line, 1] - lines[line, 0]
    return np.stack([begin + start * way, begin + (start + 1 / counts[line][:, None]) * way], 1), line


def _ever_visible(xyz: Array, scene: Scene4D) -> Array:
    """(N,) bool: what some frame shows; the rest of a large model would use up the samples."""
    frames, seen = scene.cameras.frames, np.zeros(len(xyz), bool)
    for i in evenly(len(frames), LOOKED_AT):
        rest, view = np.flatnonzero(~seen), View.of(scene, frames[i], scene.depth.read(frames[i]))
        seen[rest[view.shows(xyz[rest])[1]]] = True
    return seen


def _count_up(counts: Array) -> Array:
    """0, 1, ... up to each count, one after another: (2, 3) gives 0 1 0 1 2."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
