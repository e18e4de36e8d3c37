"""The last step: object and shadow onto the plate, in linear light, and nothing else.

    composite = plate * ratio * (1 - A) + object,   A = alpha * visible, object = beauty * visible

holds exactly for the delivered linear layers. Where the effect matte is 0 the source's code values are copied, never
converted there and back: those pixels are bit-identical to the plate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float32, Num

from geometry.camera import Camera, pixel_rays
from geometry.masks import Evidence, depth_evidence, effect_matte, visibility_from_evidence
from geometry.scene import DepthMap, Plane, RenderLayers
from geometry.shapes import expect_shape

Array = np.ndarray

Encode = Callable[[Array], Array]  # (h, w, 3) linear pixels to code values of the plate's type


@dataclass(frozen=True)
class Composite:
    """One finished frame. ``effect`` False guarantees that ``code`` is the plate's."""

    code: Num[Array, "h w 3"]  # source type
    linear: Float32[Array, "h w 3"]
    effect: Bool[Array, "h w"]
    object_premultiplied: Float32[Array, "h w 4"]  # linear, after occlusion
    ratio: Float32[Array, "h w 3"]  # exactly 1 where nothing changes


def composite(
    plate_code: Num[Array, "h w 3"],
    plate_linear: Float[Array, "h w 3"],
    layers: RenderLayers,
    visible: Num[Array, "..."],  # its raster is refused by name below
    encode: Encode,
    *,
    receiver: Num[Array, "h w"] | None = None,
    dead_zone: float = 1 / 512,
) -> Composite:
    """Put one frame's layers on its plate.

    ``plate_code`` (H, W, 3) as decoded, ``plate_linear`` (H, W, 3); ``visible`` (H, W) from ``geometry.masks``;
    ``receiver`` (H, W) in [0, 1]: where the rendered surface is the one the plate shows (``receiver_visibility``), else
    shadows would fall on what stands in front. ``encode`` turns (H, W, 3) linear pixels into code values of the plate's
    type. Changes below ``dead_zone`` (half a code value) are taken out of the layers, so that layers and code agree.
    """
    hw = layers.alpha.shape
    for name, array, shape in (
        ("plate_code", plate_code, (*hw, 3)),
        ("plate_linear", plate_linear, (*hw, 3)),
        ("visible", visible, hw),
    ):
        expect_shape(name, array, shape)
    ratio = layers.ratio if receiver is None else held_out(layers.ratio, receiver)
    effect = effect_matte(ratio, layers.alpha, visible, dead_zone=dead_zone)
    ratio = np.where(effect[..., None], ratio, 1.0).astype(np.float32)
    shown = np.where(effect, visible, 0.0)[..., None]
    rgba = (np.dstack([layers.beauty, layers.alpha]) * shown).astype(np.float32)
    linear = (plate_linear * ratio * (1 - rgba[..., 3:]) + rgba[..., :3]).astype(np.float32)
    return Composite(_encoded(plate_code, linear, effect, encode), linear, effect, rgba, ratio)


def _encoded(plate_code: Array, linear: Array, effect: Array, encode: Encode) -> Array:
    """Plate code values, replaced inside ``effect`` only; the encoder sees the smallest box around it."""
    out = plate_code.copy()
    rows, columns = np.flatnonzero(effect.any(1)), np.flatnonzero(effect.any(0))
    if len(rows) == 0:
        return out
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    code = encode(linear[box])
    if code.dtype != plate_code.dtype:
        raise TypeError(f"encode: expected {plate_code.dtype} as the plate has, got {code.dtype}")
    inside = effect[box]
    out[box][inside] = code[inside]
    return out


def held_out(ratio: Float[Array, "h w 3"], receiver: Num[Array, "h w"]) -> Float32[Array, "h w 3"]:
    """(H, W, 3) ratio that acts only where ``receiver`` (H, W) is 1, and is exactly 1 where it is 0."""
    expect_shape("receiver", receiver, ratio.shape[:2])
    return (1 + (ratio - 1) * receiver[..., None]).astype(np.float32)


def plane_depth(plane: Plane, camera: Camera, camera_from_world: Float[Array, "4 4"]) -> Float32[Array, "h w"]:
    """(H, W) float32 z-depth of a plane, 0 where no ray meets it."""
    rotation, translation = camera_from_world[:3, :3], camera_from_world[:3, 3]
    along = pixel_rays(camera) @ (rotation @ plane.normal)
    height = plane.distance(-rotation.T @ translation)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = -height / along
    return np.where(np.isfinite(depth) & (depth > 0), depth, 0.0).astype(np.float32)


def receiver_evidence(
    scene: DepthMap, receiver_depth: Float[Array, "h w"], ratio: Float[Array, "h w 3"], *, before: float = 0.04,
    behind: float = 0.08,
) -> Evidence:
    """Is the surface that the shadow was rendered on, (H, W) ``receiver_depth``, the one that the plate shows?

    Asked where ``ratio`` (H, W, 3) differs from 1. Receiver and scene are the same surface measured twice: only what
    stands clearly (by ``before``, relative depth) in front of it takes the shadow away, and what lies clearly behind
    it, past a table's edge, never gets it (``behind``).
    """
    touched = ((np.abs(ratio - 1).max(-1) > 0) & (receiver_depth > 0)).astype(np.float32)
    front = depth_evidence(receiver_depth * np.float32(1 - before), touched, scene)
    back = depth_evidence(receiver_depth * np.float32(1 + behind), touched, scene)
    return replace(front, sigmas=np.minimum(front.sigmas, -back.sigmas))


def receiver_visibility(
    scene: DepthMap, receiver_depth: Float[Array, "h w"], ratio: Float[Array, "h w 3"], plate: Num[Array, "h2 w2 3"]
) -> Float[Array, "h2 w2"]:
    """(H, W) in [0, 1], with contours after ``plate`` (H, W, 3) uint8: 1 where the shadow may fall, for ``composite``.

    For a clip: ``receiver_evidence`` of each frame, ``masks.stabilise``, ``masks.visibility_from_evidence``.
    """
    return visibility_from_evidence(receiver_evidence(scene, receiver_depth, ratio), plate)
