"""Mitsuba 3 behind the ``Renderer`` Protocol (Jakob et al. 2022).

On ``llvm`` and ``cuda`` rays are made here, one lane a sample, from arrays that kernels do not know in advance: any
lens, crop and pose runs on kernels compiled once. ``scalar`` has no arrays; see ``mitsuba_scalar``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np

from geometry import rigid
from geometry.render import variants
from geometry.render.base import Radiance, RenderScene, View
from geometry.render.buffers import aligned
from geometry.scene import GBuffer

Array = np.ndarray
Crop = tuple[int, int, int, int]
SCENES_KEPT = 6  # with and without, for a few sets of objects
LANES_AT_ONCE = 1 << 21  # bounds memory: about 60 bytes a lane
HOLES_PASSED = 16  # layers of cut-out texture that a primary ray goes through


class MitsubaRenderer:
    """Path tracing and G-buffers on the CPU or CUDA. ``variant``: auto, llvm, scalar or cuda."""

    def __init__(self, variant: str = "auto") -> None:
        self.variant = variants.choose(variant)
        self._scenes: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        variants.activate(self.variant)

    @property
    def is_scalar(self) -> bool:
        return self.variant.name.startswith("scalar")

    def gbuffer(self, scene: RenderScene, view: View) -> GBuffer:
        """Geometry at pixel centres, first shutter sample."""
        if self.is_scalar:
            from geometry.render.raycast import gbuffer

            return gbuffer(scene, view)
        return _gbuffer(self._compiled(scene), view)

    def trace(
        self,
        scene: RenderScene,
        view: View,
        *,
        objects: Sequence[int],
        spp: int,
        seed: int,
        max_depth: int = 4,
        crop: Crop | None = None,
        with_rest: bool = True,
    ) -> Radiance:
        """Path trace, see ``Renderer``; ``ValueError`` as in ``trace_parts``."""
        return self.trace_parts(
            scene, view, objects=objects, spp=spp, seed=seed, max_depth=max_depth, crop=crop, with_rest=with_rest
        )[0]

    def trace_parts(
        self,
        scene: RenderScene,
        view: View,
        *,
        objects: Sequence[int],
        spp: int,
        seed: int,
        parts: int = 1,
        max_depth: int = 4,
        crop: Crop | None = None,
        with_rest: bool = True,
    ) -> tuple[Radiance, ...]:
        """``parts`` pictures of ``spp`` samples each, in one go.

        Raises ``ValueError`` when ``spp`` is smaller than the number of shutter samples or ``crop`` is not inside.
        """
        crop = _checked_crop(crop, view.camera.wh)
        if spp < len(view.camera_from_world):
            raise ValueError(f"spp: expected at least one per shutter sample, {len(view.camera_from_world)}, got {spp}")
        compiled = self._compiled(scene)
        if self.is_scalar:
            from geometry.render.mitsuba_scalar import trace

            return tuple(
                trace(compiled, view, objects, spp, seed + part, max_depth, crop, with_rest) for part in range(parts)
            )
        return _trace(compiled, view, objects, spp, seed, parts, max_depth, crop, with_rest)

    def _compiled(self, scene: RenderScene) -> Any:
        variants.activate(self.variant)
        from geometry.render.mitsuba_scene import compile_scene, scene_key

        key = scene_key(scene)
        if key not in self._scenes:
            self._scenes[key] = compile_scene(scene)
            while len(self._scenes) > SCENES_KEPT:
                self._scenes.popitem(last=False)
        self._scenes.move_to_end(key)
        compiled = self._scenes[key]
        compiled.place(scene.instances, scene.environment)
        return compiled


def _checked_crop(crop: Crop | None, wh: tuple[int, int]) -> Crop:
    if crop is None:
        return 0, 0, *wh
    x0, y0, x1, y1 = crop
    if not (0 <= x0 < x1 <= wh[0] and 0 <= y0 < y1 <= wh[1]):
        raise ValueError(f"crop: expected 0 <= x0 < x1 <= {wh[0]}, 0 <= y0 < y1 <= {wh[1]}, got {crop}")
    return crop


def _trace(
    compiled: Any,
    view: View,
    objects: Sequence[int],
    spp: int,
    seed: int,
    parts: int,
    max_depth: int,
    crop: Crop,
    with_rest: bool,
) -> tuple[Radiance, ...]:
    from geometry.render.pixel_sampler import make_pixel_sampler

    pixels = _pixel_ids(crop, view.camera.wh[0])
    sums = np.zeros((parts, len(pixels), 10), np.float32)
    integrator = mi.load_dict({"type": "path", "max_depth": max_depth, "rr_depth": max_depth + 1})
    sampler = make_pixel_sampler()
    wanted = _opaque(mi.UInt32, [*np.isin(compiled.object_ids, list(objects)), False])
    shutter = _Shutter(view, spp)
    samples = spp * parts
    step = max(LANES_AT_ONCE // samples, 1)
    for start in range(0, len(pixels), step):
        chunk = pixels[start : start + step]
        lane = dr.arange(mi.UInt32, len(chunk) * samples)
        per_pixel, per_part = _opaque(mi.UInt32, samples), _opaque(mi.UInt32, spp)
        pixel = dr.gather(mi.UInt32, _opaque(mi.UInt32, chunk), lane // per_pixel)
        index = lane % per_part
        # Each part has the numbers of a picture of its own whose seed is one higher.
        sampler.start(pixel, index, _opaque(mi.UInt32, seed) + lane % per_pixel // per_part)
        ray, hit, shape = _first_solid(compiled, _rays(view, shutter.poses(index), pixel, sampler.next_2d()))
        is_object = dr.gather(mi.UInt32, wanted, shape) == 1
        surface = hit.compute_surface_interaction(ray, active=is_object)
        albedo = surface.bsdf().eval_diffuse_reflectance(surface, is_object)
        shaded = mi.Bool(True) if with_rest else is_object
        radiance, _, _ = integrator.sample(compiled.scene, sampler, ray, active=shaded)
        # One sample that is not a number would poison its neighbours in every later filter.
        radiance = dr.select(shaded & dr.all(dr.isfinite(radiance)), radiance, 0)
        split = [dr.select(is_object, c, 0) for c in radiance] + [dr.select(is_object, mi.Float(1), 0)]
        split += [dr.select(is_object, c, 0) for c in albedo]
        split += [dr.select(is_object, 0, c) for c in radiance] if with_rest else []
        dr.eval(split)
        for channel, values in enumerate(split):
            sums[:, start : start + step, channel] = dr.block_sum(values, spp).numpy().reshape(-1, parts).T
    return tuple(_radiance(part / spp, crop, view.camera.hw) for part in sums)


def _radiance(means: Array, crop: Crop, hw: tuple[int, int]) -> Radiance:
    x0, y0, x1, y1 = crop
    full = np.zeros((*hw, 10), np.float32)
    full[y0:y1, x0:x1] = means.reshape(y1 - y0, x1 - x0, 10)
    return Radiance(full[..., :3].copy(), full[..., 3].copy(), full[..., 7:].copy(), full[..., 4:7].copy())


class _Shutter:
    """Poses over the exposure, one for each sample of a pixel: all in one kernel, whatever their number."""

    def __init__(self, view: View, spp: int) -> None:
        poses = view.camera_from_world
        share, rest = divmod(spp, len(poses))  # earlier ones get the remainder
        counts = [share + (k < rest) for k in range(len(poses))]
        self._of_sample = _opaque(mi.UInt32, np.repeat(np.arange(len(poses)), counts))
        world_from_camera = rigid.inverse(np.stack(poses))[:, :3]  # (K, 3, 4)
        self._entries = [[_opaque(mi.Float, world_from_camera[:, i, j]) for i in range(3)] for j in range(4)]

    def poses(self, sample: Any) -> list[list[Any]]:
        """Columns of ``world_from_camera`` per lane: right, down, forward, origin."""
        pose = dr.gather(mi.UInt32, self._of_sample, sample)
        return [[dr.gather(mi.Float, entry, pose) for entry in column] for column in self._entries]


def _pixel_ids(crop: Crop, width: int) -> Array:
    x0, y0, x1, y1 = crop
    return (np.arange(y0, y1, dtype=np.uint32)[:, None] * width + np.arange(x0, x1, dtype=np.uint32)).ravel()


def _opaque(kind: Any, values: Any) -> Any:
    """A Dr.Jit array that a kernel takes as input, never as a constant: no new kernel for a new value."""
    dtype = np.float32 if kind is mi.Float else np.uint32
    array = kind(aligned(values, dtype))
    dr.make_opaque(array)
    return array


def _rays(view: View, pose: list[list[Any]], pixel: Any, offset: Any) -> Any:
    """World rays through ``pixel`` (flat index) at ``offset`` from its top-left corner; ``pose`` from ``_Shutter``."""
    camera = view.camera
    width = _opaque(mi.UInt32, camera.wh[0])
    column, row = pixel % width, pixel // width
    x = (mi.Float(column) + offset.x - _opaque(mi.Float, camera.cx)) / _opaque(mi.Float, camera.fx)
    y = (mi.Float(row) + offset.y - _opaque(mi.Float, camera.cy)) / _opaque(mi.Float, camera.fy)
    right, down, forward = (mi.Vector3f(*entries) for entries in pose[:3])
    return mi.RayDifferential3f(mi.Ray3f(mi.Point3f(*pose[3]), dr.normalize(right * x + down * y + forward)))


def _shape_index(compiled: Any, pointers: Any) -> Any:
    """Index into ``compiled.object_ids`` per lane; their number where nothing was hit."""
    shapes = compiled.scene.shapes()
    pointers_of: Any = [dr.reinterpret_array(mi.UInt32, mi.ShapePtr(shape)) for shape in shapes]
    registry = [int(pointer[0]) for pointer in pointers_of]
    table = np.full(max(registry) + 1, len(registry), np.uint32)
    table[registry] = [compiled.order[shape.id()] for shape in shapes]
    index: Any = dr.reinterpret_array(mi.UInt32, pointers)
    return dr.gather(mi.UInt32, _opaque(mi.UInt32, table), index)


def _first_solid(compiled: Any, ray: Any) -> tuple[Any, Any, Any]:
    """The ray moved past the holes of cut-out textures, what it then hits, and the index of that shape."""
    hit = compiled.scene.ray_intersect_preliminary(ray)
    for _ in range(HOLES_PASSED if compiled.has_holes else 0):
        surface = hit.compute_surface_interaction(ray)
        hole = surface.is_valid() & (surface.bsdf().eval_null_transmission(surface).x > 0.5)
        beyond = surface.spawn_ray(ray.d)
        ray.o = dr.select(hole, beyond.o, ray.o)
        dr.eval(ray)
        hit = compiled.scene.ray_intersect_preliminary(ray)
    return ray, hit, _shape_index(compiled, hit.shape)


def _gbuffer(compiled: Any, view: View) -> GBuffer:
    w, h = view.camera.wh
    pose = view.camera_from_world[0]
    pixel = _opaque(mi.UInt32, _pixel_ids((0, 0, w, h), w))
    first = _Shutter(View(view.camera, (pose,)), 1).poses(pixel * 0)
    ray = _rays(view, first, pixel, mi.Point2f(_opaque(mi.Float, 0.5), _opaque(mi.Float, 0.5)))
    ray, hit, shape = _first_solid(compiled, ray)
    si = hit.compute_surface_interaction(ray)
    valid = si.is_valid()
    normal = dr.select(dr.dot(si.n, ray.d) > 0, -si.sh_frame.n, si.sh_frame.n)
    ids = dr.gather(mi.UInt32, _opaque(mi.UInt32, [*compiled.object_ids, 0]), shape)
    # Mitsuba hands out barycentric coordinates where a mesh has no uv.
    textured = [compiled.mesh(k).uv is not None for k in range(len(compiled.object_ids))]
    has_uv = dr.gather(mi.UInt32, _opaque(mi.UInt32, [*textured, False]), shape) == 1
    results = [dr.select(valid, si.p, 0), dr.select(valid, normal, 0), dr.select(has_uv, si.uv, mi.Point2f(0, 1))]
    dr.eval(results, ids, valid)
    position, normal, uv = (np.array(v).T.reshape(h, w, -1).astype(np.float32) for v in results)
    seen = valid.numpy().reshape(h, w)
    depth = position @ pose[2, :3].astype(np.float32) + np.float32(pose[2, 3])
    uv[..., 1] = 1 - uv[..., 1]
    return GBuffer(
        depth=np.where(seen, depth, 0).astype(np.float32),
        normal=normal,
        position=position,
        object_id=np.where(seen, ids.numpy().reshape(h, w), 0).astype(np.int32),
        uv=uv,
    )
