"""What hides the object: visibility from depth, temporal fusion, contours that follow the picture.

Decisions are made on the working raster, in a crop around the object (cost does not grow with the clip's raster), and
brought to the plate raster by a guided filter. The chain is

    depth_evidence -> fuse (over neighbouring frames, optional) -> visibility

*Evidence* is a signed log-depth difference in standard deviations: positive where the object is nearer than the scene.
Masks are float32 in [0, 1]; 1 = the object is seen. Depth is z-depth, 0 = unknown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.special import ndtr

from geometry.camera import Camera, pixel_centres, pixel_rays, resample
from geometry.scene import DepthMap, Plane
from geometry.shapes import expect_shape

Array = np.ndarray

CLIP_SIGMAS = 4.0  # one frame's vote counts no more than this
TEMPORAL_GAIN = (1.0, 0.7, 0.4)  # weight of frames 0, 1, 2 away
SAME_COLOUR = 24.0  # code values by which a neighbour's picture may differ and still speak for this one


@dataclass(frozen=True)
class Contact:
    """What the object stands on, seen by ``camera`` of the working raster at ``camera_from_world`` (4, 4)."""

    support: Plane
    camera: Camera
    camera_from_world: Array


@dataclass(frozen=True)
class Evidence:
    """Who is in front, in a crop of the working raster whose corner is (x0, y0)."""

    x0: int
    y0: int
    raster_hw: tuple[int, int]
    sigmas: Array  # (h, w) float32, positive = the object is nearer
    weight: Array  # (h, w) float32 in [0, 1], how far the scene's depth is to be believed
    coverage: Array  # (h, w) float32, the object's alpha before occlusion

    def __post_init__(self) -> None:
        expect_shape("weight", self.weight, self.sigmas.shape)
        expect_shape("coverage", self.coverage, self.sigmas.shape)

    @property
    def window(self) -> tuple[slice, slice]:
        """Where the crop lies in an (H, W) picture of the working raster."""
        h, w = self.sigmas.shape
        return slice(self.y0, self.y0 + h), slice(self.x0, self.x0 + w)


def visibility(
    object_depth: Array,
    object_alpha: Array,
    scene: DepthMap,
    plate: Array,
    *,
    contact: Contact | None = None,
    band_px: int = 5,
) -> Array:
    """P(the object is in front of the scene) for one frame, (H, W) float32 on the raster of ``object_alpha``.

    ``plate`` (H, W, 3) uint8 display picture of the same raster; ``scene`` on the working raster. 1 outside the object.
    """
    evidence = depth_evidence(object_depth, object_alpha, scene, contact=contact)
    return visibility_from_evidence(evidence, plate, band_px=band_px)


# --- evidence from one frame ---------------------------------------------------------------------------------------


def depth_evidence(
    object_depth: Array,
    object_alpha: Array,
    scene: DepthMap,
    *,
    contact: Contact | None = None,
    margin_px: int = 16,
) -> Evidence:
    """Compare the object's (H, W) depth with the scene's around the object.

    ``confidence`` is 1 - 10 x the expected relative error, so it is the comparison's standard deviation; depth that is
    unknown has no weight. With ``contact``, scene points on or below the support never hide the object: whatever their
    noise says, a line of sight that ends on the support has passed everything that stands on it.
    """
    expect_shape("object_alpha", object_alpha, object_depth.shape)
    hw = scene.depth.shape
    depth, alpha = _object_on(hw, object_depth, object_alpha)
    y0, y1, x0, x1 = _crop(alpha > 0.004, margin_px)
    window = (slice(y0, y1), slice(x0, x1))
    depth, alpha = _extended(depth[window]), alpha[window]
    scene_depth, confidence = scene.depth[window], scene.confidence[window]

    known = (scene_depth > 0) & np.isfinite(scene_depth)
    relative_error = np.maximum((1 - confidence) / 10, 0.01)
    ratio = np.divide(scene_depth, depth, out=np.ones_like(depth), where=known & (depth > 0))
    sigmas = np.clip(np.log(ratio) / relative_error, -CLIP_SIGMAS, CLIP_SIGMAS)
    # A depth that may be 8 % off or more says nothing about a contact; it must not hide.
    weight = np.where(known, np.clip((confidence - 0.2) / 0.4, 0.0, 1.0), 0.0)
    if contact is not None:
        supporting = known & _on_support(contact, window, depth, alpha, scene_depth, relative_error)
        sigmas = np.where(supporting, np.maximum(sigmas, 3.0), sigmas)
        weight = np.where(supporting, np.maximum(weight, 0.5), weight)
    return Evidence(x0, y0, hw, sigmas.astype(np.float32), weight.astype(np.float32), alpha.astype(np.float32))


def _object_on(hw: tuple[int, int], depth: Array, alpha: Array) -> tuple[Array, Array]:
    """The object's depth and alpha on a raster that is not larger, averaged over what the object covers."""
    depth, alpha = depth.astype(np.float32), alpha.astype(np.float32)
    if depth.shape == hw:
        return depth, alpha
    wh, inside = (hw[1], hw[0]), (depth > 0).astype(np.float32)
    share = cv2.resize(inside, wh, interpolation=cv2.INTER_AREA)
    total = cv2.resize(depth * inside, wh, interpolation=cv2.INTER_AREA)
    mean = np.divide(total, share, out=np.zeros_like(total), where=share > 0.01)
    return mean, cv2.resize(alpha, wh, interpolation=cv2.INTER_AREA)


def _crop(inside: Array, margin_px: int) -> tuple[int, int, int, int]:
    """(y0, y1, x0, x1) around ``inside``, clipped to the picture; empty when nothing is inside."""
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if len(rows) == 0:
        return 0, 0, 0, 0
    h, w = inside.shape
    return (
        max(int(rows[0]) - margin_px, 0),
        min(int(rows[-1]) + 1 + margin_px, h),
        max(int(columns[0]) - margin_px, 0),
        min(int(columns[-1]) + 1 + margin_px, w),
    )


def _extended(depth: Array) -> Array:
    """Depth continued outside the object by its nearest value, so that contours are judged on both sides."""
    missing = (depth <= 0).astype(np.uint8)
    if missing.size == 0 or missing.all() or not missing.any():
        return depth
    _, labels = cv2.distanceTransformWithLabels(missing, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    by_label = np.zeros(labels.max() + 1, np.float32)
    by_label[labels[missing == 0]] = depth[missing == 0]
    return by_label[labels]


def _on_support(
    contact: Contact,
    window: tuple[slice, slice],
    object_depth: Array,
    alpha: Array,
    scene_depth: Array,
    relative_error: Array,
) -> Array:
    """(h, w) bool: scene points that belong to the support, or lie beyond it."""
    rotation, translation = contact.camera_from_world[:3, :3], contact.camera_from_world[:3, 3]
    camera_height = contact.support.distance(-rotation.T @ translation)
    if camera_height <= 0:  # seen from below, the support itself may hide the object
        return np.zeros(alpha.shape, bool)
    rays = pixel_rays(contact.camera)[window].astype(np.float32)
    slope = rays @ (rotation @ contact.support.normal).astype(np.float32)
    inside = alpha > 0.5
    if not inside.any():
        return np.zeros(alpha.shape, bool)
    object_height = max(float(np.percentile((object_depth * slope + camera_height)[inside], 98)), 0.0)
    noise = 1.5 * relative_error * scene_depth * np.abs(slope)
    # Wide enough for the noise, yet a fraction of the object only: low things in front still hide its foot.
    tolerance = np.clip(noise, 0.03 * object_height, 0.15 * object_height)
    return scene_depth * slope + camera_height < tolerance


# --- fusion over time ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MaskFrame:
    """One frame on its way through ``stabilise``: ``plate`` (H, W, 3) uint8 display picture of the working raster."""

    number: int
    plate: Array
    evidence: Evidence


def stabilise(frames: Iterable[MaskFrame], radius: int = 2) -> Iterator[MaskFrame]:
    """The same frames with evidence fused over ``radius`` neighbours on each side; holds 2 * radius + 1 at a time.

    Evidence travels with the plate (what hides the object is in the plate, and moves with it), and only where optical
    flow agrees forwards and backwards. A mask can therefore change from one frame to the next only where the picture
    moves, or where several frames agree that depth says so.
    """
    if not 0 <= radius < len(TEMPORAL_GAIN):
        raise ValueError(f"radius: expected 0..{len(TEMPORAL_GAIN) - 1}, got {radius}")
    ahead: deque[MaskFrame] = deque()
    behind: deque[MaskFrame] = deque(maxlen=radius)
    source = iter(frames)
    exhausted = False
    while True:
        while not exhausted and len(ahead) <= radius:
            following = next(source, None)
            exhausted = following is None
            if following is not None:
                ahead.append(following)
        if not ahead:
            return
        current = ahead.popleft()
        neighbours = [(len(behind) - i, frame) for i, frame in enumerate(behind)]
        neighbours += [(i + 1, frame) for i, frame in enumerate(ahead) if i < radius]
        yield replace(current, evidence=_fused(current, neighbours))
        behind.append(current)


def _fused(current: MaskFrame, neighbours: list[tuple[int, MaskFrame]]) -> Evidence:
    here = current.evidence
    if here.sigmas.size == 0:
        return here
    total, mass = here.weight * here.sigmas, here.weight.copy()
    for distance, frame in neighbours:
        if frame.evidence.sigmas.size == 0:
            continue
        sigmas, weight = _carried(current, frame)
        weight *= TEMPORAL_GAIN[distance]
        total += weight * sigmas
        mass += weight
    sigmas = np.divide(total, mass, out=np.zeros_like(total), where=mass > 1e-6)
    return replace(here, sigmas=sigmas, weight=np.minimum(mass, 1.0))


def _carried(current: MaskFrame, other: MaskFrame, reach_px: int = 48) -> tuple[Array, Array]:
    """Another frame's evidence moved along the plate to ``current``'s crop: ``(sigmas, weight)``, (h, w) each."""
    here, there = current.evidence, other.evidence
    h, w = here.sigmas.shape
    top, left = max(here.y0 - reach_px, 0), max(here.x0 - reach_px, 0)
    tile = (slice(top, here.y0 + h + reach_px), slice(left, here.x0 + w + reach_px))
    forward, agree = agreed_flow(current.plate[tile], other.plate[tile])
    part = (slice(here.y0 - top, here.y0 - top + h), slice(here.x0 - left, here.x0 - left + w))
    forward, agree = forward[part], agree[part]
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    map_x = x + forward[..., 0] + np.float32(here.x0 - there.x0)
    map_y = y + forward[..., 1] + np.float32(here.y0 - there.y0)
    weight = cv2.remap(there.weight, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    sigmas = cv2.remap(there.sigmas, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    map_x, map_y = map_x + np.float32(there.x0), map_y + np.float32(there.y0)
    plate = cv2.remap(other.plate, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return sigmas, weight * agree * _alike(current.plate[here.window], plate)


def _alike(a: Array, b: Array) -> Array:
    """(h, w) in [0, 1]: do two (h, w, 3) uint8 pictures show the same? Flow can agree with itself and be wrong."""
    difference = np.abs(cv2.blur(a, (3, 3)).astype(np.int16) - cv2.blur(b, (3, 3))).max(-1)
    return np.clip(2 - difference / np.float32(SAME_COLOUR), 0, 1).astype(np.float32)


@contextmanager
def one_thread() -> Iterator[None]:
    """OpenCV on one thread: DIS and the global smoother cut the picture into a stripe per thread; results differ."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def agreed_flow(a: Array, b: Array) -> tuple[Array, Array]:
    """DIS flow between two (H, W, 3) uint8 pictures: ``flow_b_from_a`` (H, W, 2) and agreement (H, W) in [0, 1]."""
    grey_a, grey_b = (cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY) for image in (a, b))
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flow.setUseSpatialPropagation(True)
    with one_thread():
        forward = flow.calc(grey_a, grey_b, np.zeros((*grey_a.shape, 2), np.float32))
        backward = flow.calc(grey_b, grey_a, np.zeros((*grey_a.shape, 2), np.float32))
    h, w = grey_a.shape
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    map_x, map_y = x + forward[..., 0], y + forward[..., 1]
    back = cv2.remap(backward, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=1e3)
    gap = np.linalg.norm(forward + back, axis=-1)
    return forward, np.clip(2.0 - gap, 0.0, 1.0).astype(np.float32)


# --- from evidence to a mask ---------------------------------------------------------------------------------------


def carried_onto(picture: Array, neighbour: Array) -> Array:
    """``neighbour`` (H, W, 3) uint8 moved along optical flow onto ``picture``; same type."""
    forward, _ = agreed_flow(picture, neighbour)
    return resample(neighbour, pixel_centres((picture.shape[1], picture.shape[0])) + forward)


def visibility_from_evidence(evidence: Evidence, plate: Array, *, band_px: int = 5) -> Array:
    """(H, W) float32 on ``plate``'s raster; ``plate`` (H, W, 3) uint8 display picture, any size.

    Unknown depth takes the verdict of like-coloured neighbours and, far from any, leaves the object visible. Contours
    are re-drawn by matting within ``band_px`` of where depth puts them (working-raster pixels).
    """
    expect_shape("plate", plate, (None, None, 3))
    out = np.ones(plate.shape[:2], np.float32)
    if evidence.sigmas.size == 0:
        return out
    h, w = evidence.raster_hw
    same_raster = plate.shape[:2] == (h, w)
    working = plate if same_raster else cv2.resize(plate, (w, h), interpolation=cv2.INTER_AREA)
    guide = np.ascontiguousarray(working[evidence.window])
    hidden = _cleaned(_hidden_probability(evidence, guide), evidence.coverage)
    if not (hidden > 0.5).any():
        return out
    hidden = _matted(hidden, guide, band_px)
    if same_raster:
        out[evidence.window] = 1 - hidden
        return out
    return _upsampled(1 - hidden, guide, evidence, plate, out)


def _hidden_probability(evidence: Evidence, guide: Array) -> Array:
    """(h, w) P(hidden): evidence spread along like colours (fast global smoother, Min et al. 2014), then a verdict."""
    with one_thread():
        smoother = cv2.ximgproc.createFastGlobalSmootherFilter(guide, 12.0, 8.0)
        total = smoother.filter(evidence.weight * evidence.sigmas)
        mass = smoother.filter(evidence.weight)
    prior = 0.02
    sigmas = (total + prior * 1.0) / (mass + prior)
    # Half a deviation in the object's favour: equal depths touch, they do not hide.
    return ndtr(-2.0 * (sigmas + 0.5)).astype(np.float32)


def _cleaned(hidden: Array, coverage: Array) -> Array:
    """Speckles and pinholes removed: regions smaller than 0.1 % of the object, or 12 px, take the other side."""
    smallest = max(12.0, 0.001 * float((coverage > 0.5).sum()))
    out = hidden.copy()
    for side in (False, True):
        region = (out > 0.5) if side else (out <= 0.5)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=8)
        small = stats[:, cv2.CC_STAT_AREA] < smallest
        small[0] = False
        out[small[labels]] = 0.0 if side else 1.0
    return out


def _matted(hidden: Array, guide: Array, band_px: int) -> Array:
    """The contour of ``hidden`` (h, w) re-drawn after ``guide`` (h, w, 3) uint8 within ``band_px`` of it."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * band_px + 1, 2 * band_px + 1))
    solid = (hidden > 0.5).astype(np.uint8)
    band = (cv2.dilate(solid, disc) > 0) & (cv2.erode(solid, disc) == 0)
    # Grain would be read as structure and leave fringes; a small bilateral filter keeps the edges and drops it.
    image = cv2.bilateralFilter(guide.astype(np.float32) / 255, 5, 0.06, 1.5)
    soft = closed_form_alpha(image, solid.astype(np.float32), band, prior=hidden)
    # Matting spreads a contour over more pixels than the lens did: steepen it about one half.
    steeper = np.clip((soft - 0.5) * 1.6 + 0.5, 0.0, 1.0)
    return np.where(band, steeper, solid).astype(np.float32)


def closed_form_alpha(
    image: Array, known: Array, unknown: Array, *, prior: Array, prior_weight: float = 0.01, epsilon: float = 1e-4
) -> Array:
    """Closed-form matting (Levin et al. 2008, eq. 12) for the ``unknown`` (H, W) bool pixels only.

    ``image`` (H, W, 3) in [0, 1]; ``known`` (H, W) holds alpha elsewhere; ``prior`` (H, W) pulls with ``prior_weight``
    where the picture is silent. Conjugate gradients from the prior, a fixed number of steps: deterministic.
    """
    out = known.astype(np.float32).copy()
    index = np.flatnonzero(unknown)
    if len(index) == 0:
        return out
    laplacian = _matting_laplacian(image.astype(np.float64), unknown, epsilon)
    start = prior.ravel().astype(np.float64)
    outside = np.where(unknown.ravel(), 0.0, known.ravel())
    rows = laplacian[index]
    matrix = rows[:, index].tocsr()
    matrix.setdiag(matrix.diagonal() + prior_weight)
    right = prior_weight * start[index] - rows @ outside
    out.ravel()[index] = np.clip(_conjugate_gradients(matrix, right, start[index]), 0.0, 1.0)
    return out


def _matting_laplacian(image: Array, unknown: Array, epsilon: float) -> csr_matrix:
    """(H*W, H*W) Laplacian from the 3x3 windows that touch ``unknown``."""
    h, w = unknown.shape
    touched = cv2.dilate(unknown.astype(np.uint8), np.ones((3, 3), np.uint8))
    touched[[0, -1]] = touched[:, [0, -1]] = 0
    cy, cx = np.nonzero(touched)
    dy, dx = (offset.ravel() for offset in np.mgrid[-1:2, -1:2])
    pixels = (cy[:, None] + dy) * w + cx[:, None] + dx  # (M, 9)
    colours = image.reshape(-1, 3)[pixels]
    centred = colours - colours.mean(1, keepdims=True)
    covariance = np.swapaxes(centred, 1, 2) @ centred / 9 + epsilon / 9 * np.eye(3)
    affinity = (1 + centred @ np.linalg.inv(covariance) @ np.swapaxes(centred, 1, 2)) / 9
    values = np.eye(9) - affinity
    rows, columns = np.repeat(pixels, 9, axis=1), np.tile(pixels, (1, 9))
    return coo_matrix((values.ravel(), (rows.ravel(), columns.ravel())), shape=(h * w, h * w)).tocsr()


def _conjugate_gradients(matrix: csr_matrix, right: Array, start: Array, steps: int = 120) -> Array:
    """Jacobi-preconditioned conjugate gradients. Sums are numpy's own: BLAS sums depend on its thread count."""
    inverse_diagonal = 1.0 / np.maximum(matrix.diagonal(), 1e-12)
    x = start.copy()
    residual = right - matrix @ x
    z = inverse_diagonal * residual
    direction, energy = z.copy(), float((residual * z).sum())
    for _ in range(steps):
        if energy < 1e-12 * len(x):
            break
        moved = matrix @ direction
        step = energy / float((direction * moved).sum())
        x += step * direction
        residual -= step * moved
        z = inverse_diagonal * residual
        fresh = float((residual * z).sum())
        direction = z + fresh / energy * direction
        energy = fresh
    return x


def _upsampled(visible: Array, guide: Array, evidence: Evidence, plate: Array, out: Array) -> Array:
    """Fast guided filter (He & Sun 2015): the linear model is fitted on the working raster, applied to the plate."""
    scale_y, scale_x = out.shape[0] / evidence.raster_hw[0], out.shape[1] / evidence.raster_hw[1]
    h, w = visible.shape
    y0, x0 = round(evidence.y0 * scale_y), round(evidence.x0 * scale_x)
    y1, x1 = round((evidence.y0 + h) * scale_y), round((evidence.x0 + w) * scale_x)
    slope, offset = _guided_model(visible, guide.astype(np.float32) / 255, radius_px=2, epsilon=1e-4)
    model = cv2.resize(np.dstack([slope, offset]), (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    large = plate[y0:y1, x0:x1].astype(np.float32) / 255
    out[y0:y1, x0:x1] = np.clip((model[..., :3] * large).sum(-1) + model[..., 3], 0.0, 1.0)
    return out


def _guided_model(target: Array, guide: Array, radius_px: int, epsilon: float) -> tuple[Array, Array]:
    """Local linear model ``target = slope . guide + offset``: (h, w, 3) and (h, w), averaged over windows."""
    box = (2 * radius_px + 1, 2 * radius_px + 1)

    def mean(image: Array) -> Array:
        return cv2.blur(image, box)

    mu, mu_t = mean(guide), mean(target)
    outer = mean((guide[..., :, None] * guide[..., None, :]).reshape(*target.shape, 9)).reshape(*target.shape, 3, 3)
    covariance = outer - mu[..., :, None] * mu[..., None, :] + epsilon * np.eye(3, dtype=np.float32)
    cross = mean(guide * target[..., None]) - mu * mu_t[..., None]
    slope = np.linalg.solve(covariance, cross[..., None])[..., 0]
    offset = mu_t - (slope * mu).sum(-1)
    return mean(slope), mean(offset)


# --- mattes that follow from visibility ----------------------------------------------------------------------------


def holdout(visible: Array, roto: Array) -> Array:
    """Visibility where a painted mask hides the object: ``roto`` (H, W) in [0, 1], 1 = hides."""
    expect_shape("roto", roto, visible.shape)
    return (visible * (1.0 - roto)).astype(np.float32)


def effect_matte(ratio: Array, alpha: Array, visible: Array, *, dead_zone: float = 1 / 512) -> Array:
    """(H, W) bool: where the composite may differ from the plate.

    ``ratio`` (H, W, 3), ``alpha`` and ``visible`` (H, W). Changes below ``dead_zone`` (half a code value) are none.
    """
    expect_shape("ratio", ratio, (*alpha.shape, 3))
    expect_shape("visible", visible, alpha.shape)
    return (np.abs(ratio - 1).max(-1) > dead_zone) | (alpha * visible > dead_zone)
