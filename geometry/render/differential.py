"""Differential rendering (Debevec 1998): what an object adds to a plate, and what it does to the light there.

``ratio = light on the receivers with the object / without it``; ``composite = plate * ratio * (1 - alpha) + beauty``.
Both sides are traced with the same random numbers, so that their noise cancels and unshadowed pixels give exactly 1.
All pictures lie on the view's pinhole raster; depth, normal, motion and ids belong to its first shutter sample.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy import ndimage

from geometry import rigid
from geometry.camera import Camera
from geometry.mesh import Material, Mesh
from geometry.render.base import Environment, Instance, Radiance, Renderer, RenderScene, View
from geometry.render.denoise import ObjectLight, ReceiverLight, denoise_object, denoise_ratio
from geometry.scene import GBuffer, Plane, RenderLayers

Array = np.ndarray
Crop = tuple[int, int, int, int]

DEAD_ZONE = 0.02  # a ratio this near to 1 becomes exactly 1 ...
ROLL_OFF = 0.04  # ... and one this far away is kept as it is
PROBE_LONG_SIDE_PX = 160  # raster of the search for pixels that change
PROBE_SPP = 16
PROBE_CHANGE = 0.012  # below the dead zone: a probe's pixel is a mean over many
RECEIVER_SHARE = 2  # receivers take spp / 2: their ratio is smooth
MIN_RECEIVER_SPP = 4
RECEIVER_SAMPLES = 700_000  # a frame
FINE_PIXELS = 160_000  # a larger effect is traced coarser, but for what lies close round the objects
NEAR_SHARE = 0.25  # of the objects' box that counts as close
FEATHER_PX = 12  # over which the close part passes into the far one
RECEIVER_POSES = 2  # of the shutter's: shadows are soft already
RECEIVER_DEPTH = 3  # light -> object -> receiver -> camera: one bounce


def plane_instance(
    plane: Plane, centre: Array, extent: float, albedo: float | tuple[float, float, float], object_id: int
) -> Instance:
    """A square piece of ``plane``, ``2 * extent`` wide round the foot of ``centre``, as a matt receiver."""
    up = np.asarray(plane.normal, np.float64)
    foot = np.asarray(centre, np.float64) - plane.distance(np.asarray(centre, np.float64)) * up
    turn = rigid.rotation_between(np.array([0.0, 1.0, 0.0]), up)
    corners = np.array([[-1.0, 0, -1], [-1, 0, 1], [1, 0, 1], [1, 0, -1]]) * extent
    r, g, b = np.broadcast_to(np.asarray(albedo, np.float64), 3)
    material = Material(base_color=(float(r), float(g), float(b)), roughness=1.0)
    normals = np.tile([0.0, 1.0, 0.0], (4, 1))
    quad = Mesh(corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32), normals=normals, material=material, name="support")
    return Instance((quad,), rigid.rigid(turn, foot), object_id)


def trace_layers(
    renderer: Renderer,
    *,
    objects: tuple[Instance, ...],
    receivers: tuple[Instance, ...],
    environment: Environment,
    view: View,
    spp: int,
    seed: int,
    next_view: View | None = None,
    max_depth: int = 4,
) -> TracedLayers:
    """``objects`` and their effect on ``receivers``, as far as the renderer is needed; only crops that can change are
    traced, and ``layers`` of the result does the rest.

    ``spp`` samples on the objects, half as many on the receivers, spread over the shutter samples. Keep the same Mesh
    and Environment objects from frame to frame: what is loaded for them is used again. Raises ``ValueError`` for no
    objects, ids used twice and too few samples for the shutter.
    """
    _check(objects, receivers)
    with_objects = RenderScene(objects + receivers, environment)
    ids = [instance.object_id for instance in objects]
    box = _projected_box(objects, view)
    halves: tuple[Radiance, ...] = ()
    if box is not None:
        half = max(spp // 2, len(view.camera_from_world))
        halves = renderer.trace_parts(
            with_objects, view, objects=ids, spp=half, seed=2 * seed, parts=2, max_depth=max_depth, crop=box,
            with_rest=False,
        )  # fmt: skip
    effect = None
    if receivers:
        receiver_spp = max(spp // RECEIVER_SHARE, MIN_RECEIVER_SPP)
        task = _RatioTask(renderer, with_objects, RenderScene(receivers, environment), receivers, receiver_spp, seed)
        crop = task.find_crop(view, box)
        if crop is not None:
            effect = task.effect(view, crop, box)
    surface = renderer.gbuffer(with_objects, view)
    return TracedLayers(objects, view, next_view, halves, effect, surface)


@dataclass(frozen=True)
class TracedLayers:
    """What the renderer gave for one picture. ``layers`` needs it no more, so that it may go on with the next one."""

    objects: tuple[Instance, ...]
    view: View
    next_view: View | None
    halves: tuple[Radiance, ...]  # two halves of the samples; none where no object is in the picture
    effect: _Effect | None
    surface: GBuffer

    def layers(self) -> RenderLayers:
        ratio = np.ones((*self.view.camera.hw, 3), np.float32)
        if self.effect is not None:
            x0, y0, x1, y1 = self.effect.crop
            ratio[y0:y1, x0:x1] = self.effect.ratio()
        light = self._light()
        alpha = light.share.mean(0)
        surface = _objects_only(self.surface, [i.object_id for i in self.objects], alpha)
        return RenderLayers(
            beauty=denoise_object(light, surface),
            alpha=np.minimum(alpha, 1.0),
            ratio=ratio,
            depth=surface.depth,
            normal=surface.normal,
            motion=_motion(surface, self.objects, self.view, self.next_view),
            object_id=surface.object_id,
        )

    def _light(self) -> ObjectLight:
        h, w = self.view.camera.hw
        if not self.halves:
            dark = np.zeros((2, h, w, 3), np.float32)
            return ObjectLight(dark, dark[..., 0], dark[0])
        return ObjectLight(
            np.stack([half.object_rgb for half in self.halves]),
            np.stack([half.object_alpha for half in self.halves]),
            np.mean([half.object_albedo for half in self.halves], 0),
        )


def _check(objects: tuple[Instance, ...], receivers: tuple[Instance, ...]) -> None:
    if not objects:
        raise ValueError("objects: expected at least one instance, got none")
    ids = [instance.object_id for instance in objects + receivers]
    if len(set(ids)) != len(ids):
        raise ValueError(f"object_id: expected a different one for every object and receiver, got {ids}")


def soften_towards_one(ratio: Array) -> Array:
    """Exactly 1 within ``DEAD_ZONE``, unchanged beyond ``ROLL_OFF``, smooth between; (..., 3), one weight a pixel."""
    change = np.abs(ratio - 1).max(-1, keepdims=True)
    t = np.clip((change - DEAD_ZONE) / (ROLL_OFF - DEAD_ZONE), 0, 1)
    return np.where(t > 0, 1 + (ratio - 1) * (t * t * (3 - 2 * t)), 1).astype(np.float32)


@dataclass(frozen=True)
class _RatioTask:
    """Light on the receivers with and without the objects."""

    renderer: Renderer
    with_objects: RenderScene
    without: RenderScene
    receivers: tuple[Instance, ...]
    spp: int
    seed: int

    def find_crop(self, view: View, box: Crop | None) -> Crop | None:
        """Where the ratio differs from 1, found on a small raster: shadows are as long as the light makes them."""
        w, h = view.camera.wh
        shrink = max(w, h) / min(PROBE_LONG_SIDE_PX, max(w, h))
        small = View(view.camera.scaled((max(round(w / shrink), 1), max(round(h / shrink), 1))), view.camera_from_world)
        spp = max(PROBE_SPP, len(view.camera_from_world))
        (a,), (b,) = self._trace(small, spp, self.seed, None)
        change = np.abs(_mean_light(a) - _mean_light(b)).max(-1)
        reference = np.maximum(_mean_light(b).max(-1), 1e-6)
        seen = (a.object_alpha > 0) & (b.object_alpha > 0)
        smooth = ndimage.uniform_filter(np.where(seen, change / reference, 0), 3)
        mask = ndimage.binary_dilation(smooth > PROBE_CHANGE, iterations=2)
        rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
        found = None
        if len(rows):
            sx, sy = w / small.camera.wh[0], h / small.camera.wh[1]
            found = (int(columns[0] * sx), int(rows[0] * sy), int(np.ceil((columns[-1] + 1) * sx)),
                     int(np.ceil((rows[-1] + 1) * sy)))  # fmt: skip
        # A contact shadow thinner than a probe's pixel lies close round the object.
        near = None if box is None else _clipped(_grown(box, 0.15), (w, h))
        return _clipped(_union(found, near), (w, h))

    def effect(self, view: View, crop: Crop, box: Crop | None) -> _Effect:
        """A large one is traced coarser, but for what lies close round the objects."""
        view = View(view.camera, _quarters(view.camera_from_world))
        width, height = crop[2] - crop[0], crop[3] - crop[1]
        shrink = np.sqrt(width * height / FINE_PIXELS)
        if shrink <= 1:
            return _Effect(crop, self._traced(view, crop))
        wh = max(round(width / shrink), 1), max(round(height / shrink), 1)
        far = self._traced(View(_camera_of_crop(view, crop).scaled(wh), view.camera_from_world), (0, 0, *wh))
        near = None if box is None else _intersection(_grown(box, NEAR_SHARE), crop)
        return _Effect(crop, far) if near is None else _Effect(crop, far, near, self._traced(view, near))

    def _traced(self, view: View, crop: Crop) -> _NoisyRatio:
        """The crop on the view's own raster."""
        x0, y0, x1, y1 = crop
        inside = np.s_[y0:y1, x0:x1]
        # Two halves with their own random numbers: their difference is the noise that the filter may remove.
        spp = max(self._affordable_spp(x1 - x0, y1 - y0), 2 * len(view.camera_from_world))
        lit, free = (
            ReceiverLight(
                np.stack([half.object_rgb[inside] for half in halves]),
                np.stack([half.object_alpha[inside] for half in halves]),
            )
            for halves in self._trace(view, spp // 2, self.seed * 2 + 1, crop, parts=2)
        )
        small = View(_camera_of_crop(view, crop), view.camera_from_world)
        return _NoisyRatio(lit, free, self.renderer.gbuffer(self.without, small))

    def _affordable_spp(self, width: int, height: int) -> int:
        """Large effects are soft ones: they do with fewer samples. A power of two, so that few kernels are compiled."""
        spp = min(self.spp, max(RECEIVER_SAMPLES / (width * height), MIN_RECEIVER_SPP))
        return 1 << int(np.log2(spp))

    def _trace(
        self, view: View, spp: int, seed: int, crop: Crop | None, parts: int = 1
    ) -> tuple[tuple[Radiance, ...], tuple[Radiance, ...]]:
        """The receivers with and without the objects, by the same random numbers."""
        ids = [instance.object_id for instance in self.receivers]
        lit, free = (
            self.renderer.trace_parts(
                scene, view, objects=ids, spp=spp, seed=seed, parts=parts, max_depth=RECEIVER_DEPTH, crop=crop,
                with_rest=False,
            )
            for scene in (self.with_objects, self.without)
        )
        return lit, free


@dataclass(frozen=True)
class _NoisyRatio:
    """A piece of picture as it was traced."""

    lit: ReceiverLight
    free: ReceiverLight
    surface: GBuffer

    def denoised(self) -> Array:
        """(h, w, 3); exactly 1 where no receiver is or nothing changes."""
        return soften_towards_one(denoise_ratio(self.lit, self.free, self.surface))


@dataclass(frozen=True)
class _Effect:
    """What the objects do to the light inside ``crop``; ``fine`` replaces it inside ``near``."""

    crop: Crop
    coarse: _NoisyRatio
    near: Crop | None = None
    fine: _NoisyRatio | None = None

    def ratio(self) -> Array:
        """(h, w, 3) of the crop."""
        x0, y0, x1, y1 = self.crop
        ratio = self.coarse.denoised()
        if ratio.shape[:2] != (y1 - y0, x1 - x0):
            ratio = 1 + cv2.resize(ratio - 1, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
        if self.near is not None and self.fine is not None:
            inside = np.s_[self.near[1] - y0 : self.near[3] - y0, self.near[0] - x0 : self.near[2] - x0]
            weight = _feather(self.near, self.crop)[..., None]
            ratio[inside] += weight * (self.fine.denoised() - ratio[inside])
        return ratio


def _quarters(poses: tuple[Array, ...]) -> tuple[Array, ...]:
    """At most ``RECEIVER_POSES`` of the shutter's poses, from the middle of the row: nearest to the centre comes first,
    so that these lie a quarter of the exposure before and after it."""
    if len(poses) <= RECEIVER_POSES:
        return poses
    first = (len(poses) - RECEIVER_POSES) // 2
    return poses[first : first + RECEIVER_POSES]


def _feather(near: Crop, crop: Crop) -> Array:
    """(h, w) weight of ``near``: 1 inside, falling to 0 at those of its borders that are not the crop's own."""
    x, y = np.arange(near[0], near[2]), np.arange(near[1], near[3])

    def ramp(at: Array, low: int, high: int, low_is_end: bool, high_is_end: bool) -> Array:
        up = np.ones(len(at)) if low_is_end else np.clip((at - low + 0.5) / FEATHER_PX, 0, 1)
        down = np.ones(len(at)) if high_is_end else np.clip((high - at - 0.5) / FEATHER_PX, 0, 1)
        return np.minimum(up, down)

    across = ramp(x, near[0], near[2], near[0] == crop[0], near[2] == crop[2])
    along = ramp(y, near[1], near[3], near[1] == crop[1], near[3] == crop[3])
    return np.minimum(along[:, None], across[None]).astype(np.float32)


def _intersection(a: Crop, b: Crop) -> Crop | None:
    x0, y0, x1, y1 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _mean_light(radiance: Radiance) -> Array:
    return radiance.object_rgb / np.maximum(radiance.object_alpha, 1e-6)[..., None]


def _camera_of_crop(view: View, crop: Crop) -> Camera:
    x0, y0, x1, y1 = crop
    camera = view.camera
    return replace(camera, cx=camera.cx - x0, cy=camera.cy - y0, wh=(x1 - x0, y1 - y0))


def _projected_box(instances: tuple[Instance, ...], view: View) -> Crop | None:
    """Pixels that the instances can cover over the shutter; None when all lie outside the picture."""
    w, h = view.camera.wh
    found: Crop | None = None
    for instance in instances:
        vertices = np.concatenate([mesh.vertices for mesh in instance.meshes])
        vertices = rigid.transform(instance.world_from_object, vertices)
        for pose in view.camera_from_world:
            points = rigid.transform(pose, vertices)
            if (points[:, 2] <= 1e-6).all():
                continue
            if (points[:, 2] <= 1e-6).any():
                return 0, 0, w, h  # it reaches behind the camera
            px = np.clip(view.camera.px_from_cam(points), -1e6, 1e6)
            low, high = np.floor(px.min(0)).astype(int) - 1, np.ceil(px.max(0)).astype(int) + 1
            found = _union(found, (int(low[0]), int(low[1]), int(high[0]), int(high[1])))
    return _clipped(found, (w, h))


def _union(a: Crop | None, b: Crop | None) -> Crop | None:
    if a is None or b is None:
        return a or b
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _grown(crop: Crop, share: float) -> Crop:
    x0, y0, x1, y1 = crop
    by = int(np.ceil(share * max(x1 - x0, y1 - y0)))
    return x0 - by, y0 - by, x1 + by, y1 + by


def _clipped(crop: Crop | None, wh: tuple[int, int]) -> Crop | None:
    if crop is None:
        return None
    return _intersection(crop, (0, 0, *wh))


def _objects_only(seen: GBuffer, ids: list[int], alpha: Array) -> GBuffer:
    """The objects' part of a G-buffer, spread to every pixel that they cover at all."""
    mine = np.isin(seen.object_id, ids)
    planes = {name: getattr(seen, name) for name in GBuffer.__dataclass_fields__}
    planes = {name: np.where(mine[..., None] if a.ndim == 3 else mine, a, 0).astype(a.dtype)
              for name, a in planes.items()}
    # A silhouette's pixel may be covered while its centre is not: it takes its nearest neighbour's geometry.
    lacking = (alpha > 0) & ~mine
    if mine.any() and lacking.any():
        nearest = ndimage.distance_transform_edt(~mine, return_distances=False, return_indices=True)
        rows, columns = nearest[:, lacking]
        for plane in planes.values():
            plane[lacking] = plane[rows, columns]
    return GBuffer(**planes)


def _motion(seen: GBuffer, objects: tuple[Instance, ...], view: View, next_view: View | None) -> Array:
    """(H, W, 2) px from here to the next frame; 0 where no object is or without a next frame."""
    motion = np.zeros((*seen.depth.shape, 2), np.float32)
    if next_view is None:
        return motion
    for instance in objects:
        here = seen.object_id == instance.object_id
        if not here.any():
            continue
        points = seen.position[here].astype(np.float64)
        now = view.camera.px_from_cam(rigid.transform(view.camera_from_world[0], points))
        if instance.world_from_object_next is not None:
            step = instance.world_from_object_next @ np.linalg.inv(instance.world_from_object)
            points = rigid.transform(step, points)
        then = next_view.camera.px_from_cam(rigid.transform(next_view.camera_from_world[0], points))
        motion[here] = np.nan_to_num(then - now)
    return motion
