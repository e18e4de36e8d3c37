"""Path tracing with Mitsuba's scalar variant, which has no arrays and so no integrators written in Python.

Every sample gets a pixel of its own: a film ``s`` times finer each way is rendered with one sample a pixel, with the
index of the shape that its ray met beside the colour. Sorting the samples into object and rest is then numpy's work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mitsuba as mi
import numpy as np

from geometry import rigid
from geometry.camera import Camera
from geometry.render.base import Radiance, View
from geometry.render.materials import hole_map, is_solid

Array = np.ndarray
Crop = tuple[int, int, int, int]
SAMPLES_AT_ONCE = 1 << 21


def trace(
    compiled: Any,
    view: View,
    objects: Sequence[int],
    spp: int,
    seed: int,
    max_depth: int,
    crop: Crop,
    with_rest: bool,
) -> Radiance:
    """As ``MitsubaRenderer.trace``; ``spp`` is rounded up to a square number per shutter sample."""
    shutter = view.camera_from_world
    side = int(np.ceil(np.sqrt(spp / len(shutter))))
    x0, y0, x1, y1 = crop
    rows_at_once = max(SAMPLES_AT_ONCE // (side * side * (x1 - x0)), 1)
    full = np.zeros((*view.camera.hw, 10), np.float32)
    for k, pose in enumerate(shutter):
        for top in range(y0, y1, rows_at_once):
            band = (x0, top, x1, min(top + rows_at_once, y1))
            means = _band(compiled, view.camera, pose, objects, side, _seed(seed, k, top), max_depth, band)
            full[top : band[3], x0:x1] += means / len(shutter)
    rest = full[..., 7:].copy() if with_rest else np.zeros_like(full[..., 7:])
    return Radiance(full[..., :3].copy(), full[..., 3].copy(), rest, full[..., 4:7].copy())


def _seed(*parts: int) -> int:
    # Mitsuba seeds its pixels with seed + 0, 1, 2...: neighbouring seeds would share their numbers.
    return int(np.random.SeedSequence(parts).generate_state(1)[0]) >> 1


def _band(
    compiled: Any, camera: Camera, pose: Array, objects: Sequence[int], side: int, seed: int, max_depth: int, band: Crop
) -> Array:
    """(h, w, 10) means: object rgb, object share, object albedo, rest rgb."""
    x0, y0, x1, y1 = band
    # Mitsuba's pixels are square: rows are spaced for ``fx`` and sorted into true rows afterwards.
    squash = camera.fx / camera.fy
    first, last = int(np.floor(y0 * squash * side)), int(np.ceil(y1 * squash * side))
    film_hw = (int(np.ceil(camera.wh[1] * squash * side)), camera.wh[0] * side)
    sensor = _sensor(camera, pose, side, squash, film_hw, (x0 * side, first, (x1 - x0) * side, last - first))
    integrator = mi.load_dict(
        {"type": "aov", "aovs": "albedo:albedo,shape:shape_index,uv:uv",
         "path": {"type": "path", "max_depth": max_depth, "rr_depth": 64}}
    )  # fmt: skip
    render: Any = mi.render  # its stubs know the array variants only
    pixels = np.array(render(compiled.scene, sensor=sensor, integrator=integrator, spp=1, seed=seed))
    radiance = np.where(np.isfinite(pixels[..., :3]), pixels[..., :3], 0)
    mine = _is_object(compiled, pixels[..., -3], pixels[..., -2:], objects)[..., None]
    split = np.concatenate([radiance * mine, mine, pixels[..., -6:-3] * mine, radiance * ~mine], -1).astype(np.float32)
    split = split.reshape(len(split), x1 - x0, side, 10).sum(2)
    row = np.floor((np.arange(first, last) + 0.5) / (squash * side)).astype(int)
    out = np.zeros((y1 - y0, x1 - x0, 10), np.float32)
    inside = (row >= y0) & (row < y1)
    np.add.at(out, row[inside] - y0, split[inside])
    counts = np.bincount(row[inside] - y0, minlength=y1 - y0) * side
    return out / np.maximum(counts, 1)[:, None, None]


def _is_object(compiled: Any, index: Array, uv: Array, objects: Sequence[int]) -> Array:
    """Which samples met an instance in ``objects`` at a place that is no hole."""
    shapes = compiled.scene.shapes()
    index = np.round(index).astype(int) - 1  # Mitsuba counts from 1; 0 is a miss
    result = np.zeros(index.shape, bool)
    for i, shape in enumerate(shapes):
        k = compiled.order[shape.id()]
        here = index == i
        if compiled.object_ids[k] not in objects or not here.any():
            continue
        v_up = np.stack([uv[here][:, 0], 1 - uv[here][:, 1]], -1)
        result[here] = is_solid(hole_map(compiled.mesh(k).material), v_up)
    return result


def _sensor(
    camera: Camera, pose: Array, side: int, squash: float, film_hw: tuple[int, int], crop_xywh: Crop
) -> Any:
    h, w = film_hw
    x, y, crop_w, crop_h = crop_xywh
    # Mitsuba's camera looks along +z with x to the left and y up: half a turn about z from OpenCV's.
    to_world = rigid.inverse(pose) @ np.diag([-1.0, -1.0, 1.0, 1.0])
    return mi.load_dict({
        "type": "perspective",
        "fov_axis": "x",
        "fov": float(np.degrees(2 * np.arctan(w / 2 / (camera.fx * side)))),
        "principal_point_offset_x": 0.5 - camera.cx * side / w,
        "principal_point_offset_y": 0.5 - camera.cy * squash * side / h,
        "near_clip": 1e-3,
        "far_clip": 1e7,
        "to_world": mi.ScalarTransform4f(to_world),
        "sampler": {"type": "independent"},
        "film": {
            "type": "hdrfilm", "width": w, "height": h, "pixel_format": "rgb", "component_format": "float32",
            "rfilter": {"type": "box"}, "crop_offset_x": x, "crop_offset_y": y,
            "crop_width": crop_w, "crop_height": crop_h,
        },
    })  # fmt: skip
