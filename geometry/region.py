"""A region that one frame shows, found again in every other: by the surface that it lies on, or by the mover it is.

``regions`` are (H, W) float32 in [0, 1] on the working raster, lens distortion included. What stands still is looked up
through depth and cameras, so that it neither drifts nor grows; what a mover's mask covers is followed as that mover.
"""

from __future__ import annotations

import cv2
import numpy as np

from geometry import rigid
from geometry.camera import pixel_rays, resample
from geometry.masks import Evidence, one_thread
from geometry.scene import DepthMap, Scene4D
from geometry.shapes import expect_shape

Array = np.ndarray

SURE = 2.5  # sigmas
WORST_DEPTH = 0.15  # relative difference from which on two depths are of different surfaces, however unsure they are
BEST_DEPTH = 0.02
MOVER_SHARE = 0.5  # of a mover in the region, or of the region on the mover


def cut_out(picture: Array, box_px: tuple[float, float, float, float], seed: int) -> Array:
    """What a box (x0, y0, x1, y1) encloses, by its colours (GrabCut, Rother et al. 2004).

    ``picture`` (H, W, 3) uint8. A box with nothing around it is taken whole.
    """
    h, w = picture.shape[:2]
    x0, y0, x1, y1 = (round(v) for v in box_px)
    mask = np.full((h, w), cv2.GC_BGD, np.uint8)
    mask[max(y0, 0) : max(y1, y0 + 1), max(x0, 0) : max(x1, x0 + 1)] = cv2.GC_PR_FGD
    if (mask == cv2.GC_BGD).any() and (mask == cv2.GC_PR_FGD).any():
        cv2.setRNGSeed(seed)
        with one_thread():
            cv2.grabCut(picture, mask, (0, 0, w, h), np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_MASK)
    return ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.float32)


def movers_in(region: Array, labels: Array) -> tuple[int, ...]:
    """Labels of the movers that ``region`` (H, W) shows: most of the mover lies in it, or most of it on the mover."""
    expect_shape("labels", labels, region.shape)
    inside = region > 0.5
    shown = []
    for label in np.unique(labels[inside & (labels > 0)]):
        mover = labels == label
        both = float((mover & inside).sum())
        if both > MOVER_SHARE * min(float(mover.sum()), float(inside.sum())):
            shown.append(int(label))
    return tuple(shown)


def evidence_of_movers(scene: Scene4D, movers: tuple[int, ...], frame: int) -> Evidence:
    """Where the movers with these labels are in ``frame``; see ``evidence_of_place``."""
    assert scene.motion is not None
    return _evidence(np.isin(scene.motion.read(frame), movers), 1.0)


def evidence_of_place(scene: Scene4D, region: Array, shown: int, frame: int) -> Evidence:
    """What of ``frame`` shows the still surface that ``region`` covers in frame ``shown``.

    A pixel has no weight where its depth is unknown, where it lies outside the picture of ``shown``, or where the two
    frames' depths do not agree: then something was before it in ``shown``, and its neighbours have to tell.
    """
    there, camera = _still_depth(scene, shown), scene.cameras.camera(shown)
    expect_shape("region", region, there.depth.shape)
    if frame == shown:
        return _evidence(region > 0.5, 1.0)
    here, lens = _still_depth(scene, frame), scene.cameras.camera(frame)
    rays = pixel_rays(lens)
    far_away = scene.cameras.has_one_centre  # then depth changes nothing
    points = rays if far_away else rays * here.depth[..., None]
    moved = scene.cameras.pose(shown) @ rigid.inverse(scene.cameras.pose(frame))
    if far_away:
        moved = rigid.rigid(moved[:3, :3], np.zeros(3))
    points = rigid.transform(moved, points.reshape(-1, 3))
    h, w = here.depth.shape
    px = np.nan_to_num(camera.px_from_cam(points), nan=-1e6).reshape(h, w, 2)
    z = points[:, 2].reshape(h, w).astype(np.float32)
    inside = (px[..., 0] >= 0) & (px[..., 0] < w) & (px[..., 1] >= 0) & (px[..., 1] < h) & (z > 0)
    covered = resample(region.astype(np.float32), px) > 0.5
    weight = inside.astype(np.float32)
    if not far_away:
        seen = resample(there.depth, px, interpolation=cv2.INTER_NEAREST)
        sure = np.minimum(here.confidence, resample(there.confidence, px, interpolation=cv2.INTER_NEAREST))
        slack = np.clip(0.3 * (1 - sure), BEST_DEPTH, WORST_DEPTH)  # three expected errors, see ``DepthMap``
        gap = (z - seen) / np.maximum(z, np.float32(1e-9))
        weight *= np.maximum(sure, np.float32(0.05)) * ((here.depth > 0) & (seen > 0) & (np.abs(gap) < slack))
    moving = _moving(scene, frame)
    return _evidence(covered & ~moving, np.where(moving, np.float32(1), weight))


def _still_depth(scene: Scene4D, frame: int) -> DepthMap:
    """A frame's depth; what moves has none."""
    seen = scene.depth.read(frame)
    still = ~_moving(scene, frame)
    return DepthMap(np.where(still, seen.depth, 0).astype(np.float32), seen.confidence)


def _moving(scene: Scene4D, frame: int) -> Array:
    if scene.motion is None:
        w, h = scene.working_wh
        return np.zeros((h, w), bool)
    return scene.motion.read(frame) > 0


def _evidence(inside: Array, weight: Array | float) -> Evidence:
    """Over the whole raster. ``Evidence.sigmas`` is positive for what is nearer: here, for what is not the region."""
    ones = np.ones(inside.shape, np.float32)
    sigmas = np.where(inside, np.float32(-SURE), np.float32(SURE))
    return Evidence(0, 0, (inside.shape[0], inside.shape[1]), sigmas, (ones * weight).astype(np.float32), ones)
