"""Light from a clip: a lat-long environment, the direction of its key, and how far to trust it.

What a picture shows is albedo times light, so one thing must be agreed: the support's albedo has luminance .3
(``GAUGE``) unless given. Radiance is scene-linear Rec.709; directions are unit, world, +Y up, *towards* the light.

Lat-long pictures: u in [0, 1] runs left to right, v top to bottom. At yaw 0 the centre column looks along -Z, columns
right of it towards +X; the top row is +Y. Yaw turns the picture counter-clockwise seen from above.

Spherical harmonics are real, order 2, in the order (0,0) (1,-1) (1,0) (1,1) (2,-2) (2,-1) (2,0) (2,1) (2,2), written
over (x, y, z) as in Ramamoorthi & Hanrahan 2001, eq. 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from geometry.camera import Camera, pixel_centres
from geometry.mesh import Mesh
from geometry.render.base import Environment
from geometry.scene import DepthMap, Plane
from geometry.shapes import expect_shape

Array = np.ndarray

GAUGE = 0.3
TRUSTED = 0.45  # a key of less confidence is not used and the answer is flagged; painted patterns alone reach .4
REC709 = np.array([0.2126, 0.7152, 0.0722])
UP = np.array([0.0, 1.0, 0.0])
# Cosine lobe in spherical harmonics, per coefficient (Ramamoorthi & Hanrahan 2001, eq. 8).
COSINE_LOBE = np.array([np.pi] + [2 * np.pi / 3] * 3 + [np.pi / 4] * 5)

# (points (N, 3), directions (M, 3)) -> (M, N) bool: does the scene throw a shadow on the point from that direction?
ShadowTest = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class ShadingSamples:
    """Surface points with what the plate shows there."""

    radiance: Array  # (N, 3) linear plate pixels
    normals: Array  # (N, 3) unit, world
    positions: Array  # (N, 3) world
    weight: Array  # (N,) confidence
    on_support: Array  # (N,) bool, the surface the object stands on

    def __post_init__(self) -> None:
        n = len(self.radiance)
        for name in ("radiance", "normals", "positions"):
            expect_shape(name, getattr(self, name), (n, 3))
        expect_shape("weight", self.weight, (n,))
        expect_shape("on_support", self.on_support, (n,))

    def __len__(self) -> int:
        return len(self.radiance)

    def select(self, keep: Array) -> ShadingSamples:
        return ShadingSamples(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))

    @classmethod
    def joined(cls, parts: Iterable[ShadingSamples]) -> ShadingSamples:
        parts = tuple(parts)
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))


@dataclass(frozen=True)
class View:
    """One frame for the panorama. ``linear`` (H, W, 3); ``depth`` on the same raster, or None = far away."""

    linear: Array
    camera: Camera
    camera_from_world: Array
    depth: DepthMap | None = None


@dataclass(frozen=True)
class Key:
    """One directional light. ``strength``: its irradiance at normal incidence over the ambient one from above."""

    direction: Array  # (3,) towards the light
    strength: float
    confidence: float  # [0, 1]


@dataclass(frozen=True)
class LightEstimate:
    """``flagged``: nobody could see where the key comes from, so its direction is a convention."""

    environment: Environment
    key_direction: Array | None  # (3,) towards the light
    key_confidence: float  # [0, 1]
    flagged: bool
    support_albedo: Array  # (3,) linear
    sh: Array  # (9, 3) radiance coefficients of the light without its key

    @property
    def uv(self) -> Array | None:
        """(2,) where the key lies in the environment's picture."""
        return None if self.key_direction is None else uv_from_direction(self.key_direction, self.environment.yaw)


# --- directions, pictures, harmonics -------------------------------------------------------------------------------


def direction_from_uv(uv: Array, yaw: float = 0.0) -> Array:
    """(..., 2) lat-long coordinates to (..., 3) world directions."""
    uv = np.asarray(uv, np.float64)
    azimuth, polar = 2 * np.pi * (uv[..., 0] - 0.5) - yaw, np.pi * uv[..., 1]
    sine = np.sin(polar)
    return np.stack([sine * np.sin(azimuth), np.cos(polar), -sine * np.cos(azimuth)], -1)


def uv_from_direction(direction: Array, yaw: float = 0.0) -> Array:
    """(..., 3) world directions of any length to (..., 2) lat-long coordinates; u in [0, 1)."""
    x, y, z = np.moveaxis(np.asarray(direction, np.float64), -1, 0)
    u = (np.arctan2(x, -z) + yaw) / (2 * np.pi) + 0.5
    v = np.arctan2(np.hypot(x, z), y) / np.pi
    return np.stack([u % 1.0, v], -1)


def directions(hw: tuple[int, int], yaw: float = 0.0) -> Array:
    """(H, W, 3) directions of the pixel centres of a lat-long picture."""
    return direction_from_uv(pixel_centres((hw[1], hw[0])) / (hw[1], hw[0]), yaw)


def solid_angles(hw: tuple[int, int]) -> Array:
    """(H, 1) steradians of one pixel in each row; the picture sums to 4 pi."""
    edges = np.cos(np.pi * np.arange(hw[0] + 1) / hw[0])
    return ((edges[:-1] - edges[1:]) * 2 * np.pi / hw[1])[:, None]


def rotate(environment: Environment, yaw: float) -> Environment:
    """The same light turned by ``yaw`` radians, counter-clockwise from above."""
    return replace(environment, yaw=environment.yaw + yaw)


def given_environment(hdri: Array, yaw: float = 0.0, exposure_ev: float = 0.0) -> Environment:
    """An artist's (H, W, 3) lat-long picture, ``exposure_ev`` stops brighter. Raises ``ValueError`` for bad values."""
    expect_shape("hdri", hdri, (None, None, 3))
    bad = ~(np.isfinite(hdri) & (hdri >= 0))
    if bad.any():
        raise ValueError(f"hdri: expected finite radiance >= 0, got {int(bad.any(-1).sum())} pixels that are not")
    return Environment((np.asarray(hdri, np.float32) * np.float32(2.0**exposure_ev)), yaw)


def sh_basis(direction: Array) -> Array:
    """(..., 3) unit directions to (..., 9) real spherical harmonics."""
    x, y, z = np.moveaxis(np.asarray(direction, np.float64), -1, 0)
    one = np.ones_like(x)
    return np.stack(
        [
            0.282095 * one, 0.488603 * y, 0.488603 * z, 0.488603 * x,
            1.092548 * x * y, 1.092548 * y * z, 0.315392 * (3 * z * z - 1), 1.092548 * x * z,
            0.546274 * (x * x - y * y),
        ],
        -1,
    )  # fmt: skip


def sh_from_picture(radiance: Array, yaw: float = 0.0) -> Array:
    """(H, W, 3) lat-long radiance to (9, 3) coefficients."""
    hw = radiance.shape[:2]
    basis = sh_basis(directions(hw, yaw)) * solid_angles(hw)[..., None]
    return np.einsum("hwk,hwc->kc", basis, radiance.astype(np.float64))


def irradiance(sh: Array, normals: Array) -> Array:
    """(9, C) radiance coefficients and (..., 3) normals to (..., C) irradiance."""
    return sh_basis(normals) @ (COSINE_LOBE[:, None] * sh)


def irradiance_of_picture(environment: Environment, normal: Array) -> Array:
    """(3,) irradiance of a plane by direct summation: the plain reference."""
    hw = environment.radiance.shape[:2]
    cosine = np.maximum(directions(hw, environment.yaw) @ np.asarray(normal, np.float64), 0) * solid_angles(hw)
    return np.einsum("hw,hwc->c", cosine, environment.radiance.astype(np.float64))


# --- samples from frames -------------------------------------------------------------------------------------------


def shading_samples(view: View, support: Plane, *, tolerance: float, stride_px: int = 4) -> ShadingSamples:
    """Points of one frame whose depth is trusted, with normals from depth; those within ``tolerance`` (scene units) of
    ``support`` take its normal. Clipped and black pixels say nothing and are left out. Needs ``view.depth``.
    """
    if view.depth is None:
        raise ValueError("view.depth: expected a depth map, got none")
    depth = view.depth.depth
    expect_shape("view.linear", view.linear, (*depth.shape, 3))
    rays = view.camera.rays_from_px(pixel_centres(view.camera.wh)[::stride_px, ::stride_px])
    smooth = cv2.medianBlur(depth.astype(np.float32), 5)[::stride_px, ::stride_px]
    rotation, translation = view.camera_from_world[:3, :3], view.camera_from_world[:3, 3]
    positions = (rays * smooth[..., None] - translation) @ rotation
    across, down = np.gradient(positions, axis=1), np.gradient(positions, axis=0)
    normals = np.cross(across, down)
    length = np.linalg.norm(normals, axis=-1)
    centre = -rotation.T @ translation
    normals /= np.where(length > 0, length, 1)[..., None]
    normals *= np.sign(((centre - positions) * normals).sum(-1))[..., None]
    on_support = np.abs(support.distance(positions)) < tolerance
    normals[on_support] = support.normal

    radiance = cv2.blur(view.linear.astype(np.float32), (stride_px, stride_px))[::stride_px, ::stride_px]
    # A jump in depth has no normal. Inverse depth is linear on any plane, however steep, so bends are what to look for.
    inverse = np.divide(1.0, smooth, out=np.zeros(smooth.shape), where=smooth > 0)
    bends = [np.abs(np.gradient(np.gradient(inverse, axis=axis), axis=axis)) for axis in (0, 1)]
    jump = np.maximum(*bends) > 0.03 * inverse
    keep = (smooth > 0) & (length > 0) & ~jump & (radiance.max(-1) < 0.97) & (radiance.min(-1) > 0.002)
    weight = np.where(on_support, 1.0, 0.5) * view.depth.confidence[::stride_px, ::stride_px]
    keep &= weight > 0.1
    return ShadingSamples(
        radiance[keep].astype(np.float64), normals[keep], positions[keep], weight[keep], on_support[keep]
    )


def thinned(samples: ShadingSamples, count: int, seed: int = 0) -> ShadingSamples:
    """At most ``count`` samples, drawn without replacement."""
    if len(samples) <= count:
        return samples
    return samples.select(np.sort(np.random.default_rng([seed, 17]).choice(len(samples), count, replace=False)))


def albedo_groups(samples: ShadingSamples, groups: int = 6) -> Array:
    """(N,) group of each sample: 0 is the support, others by k-means over log chroma (surfaces of one paint)."""
    chroma = np.log(np.maximum(samples.radiance, 1e-4))
    chroma = (chroma[:, [0, 2]] - chroma[:, [1]]).astype(np.float32)
    out = np.zeros(len(samples), np.int64)
    others = np.flatnonzero(~samples.on_support)
    groups = min(groups, len(others) // 20)
    if groups < 1:
        out[others] = 1
        return out
    points = chroma[others]
    # Start from spread quantiles along the main axis instead of random picks: the same groups every time.
    order = np.argsort(points @ np.array([1.0, -1.0], np.float32), kind="stable")
    start = np.zeros((len(others), 1), np.int32)
    start[order, 0] = np.arange(len(others)) * groups // len(others)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 1e-3)
    _, labels, _ = cv2.kmeans(points, groups, start, criteria, 1, cv2.KMEANS_USE_INITIAL_LABELS)
    out[others] = labels[:, 0] + 1
    return out


# --- the estimate --------------------------------------------------------------------------------------------------


def estimate_light(
    samples: ShadingSamples,
    *,
    views: Iterable[View] = (),
    centre: Array | None = None,
    shadowed: ShadowTest | None = None,
    support_normal: Array = UP,
    support_luminance: float = GAUGE,
    hw: tuple[int, int] = (128, 256),
) -> LightEstimate:
    """Environment from plate shading, cast shadows (``shadowed``) and a panorama of ``views`` seen from ``centre``
    (3,): the object's middle (not its foot, for from there the whole support lies on the horizon).

    Where shading decides nothing (one horizontal support is all that is seen), the answer is an overhead soft box
    above a floor that bounces: believable gradient, soft contact shadow, and exactly the support's irradiance.
    Raises ``ValueError`` without samples on the support.
    """
    if not samples.on_support.any():
        raise ValueError("samples: expected at least one on the support, got none")
    samples = thinned(samples, 6000)
    groups = albedo_groups(samples)
    key = find_key(samples, groups, shadowed)
    if key is not None and key.confidence < TRUSTED:
        key = None
    in_sun = np.ones(len(samples), bool)
    if key is not None and shadowed is not None:
        in_sun = ~shadowed(samples.positions, key.direction[None])[0]
    open_support = samples.on_support & in_sun
    lit = np.median(samples.radiance[open_support if open_support.any() else samples.on_support], axis=0)
    chroma = light_chroma(samples.radiance, samples.weight)
    target = np.pi * float(lit @ REC709) / support_luminance * chroma  # (3,) irradiance of the lit support
    albedo = np.clip(np.pi * lit / target, 0.01, 0.95)

    panorama, coverage = unprojected(views, np.zeros(3) if centre is None else centre, hw)
    flagged = key is None
    if key is None:
        key = _conventional_key(panorama, coverage, support_normal)
    incidence = max(float(key.direction @ support_normal), 0.0)
    ambient = target / (1 + key.strength * incidence)
    first = _filled(panorama, coverage, ambient, albedo, support_normal)
    direct = np.where(in_sun, np.maximum(samples.normals @ key.direction, 0), 0)[:, None] * key.strength * ambient
    sh = _corrected_harmonics(samples, groups, direct, sh_from_picture(first), ambient, albedo)
    picture = np.maximum(first + sh_basis(directions(hw)) @ (sh - sh_from_picture(first)), 0.02 * ambient / np.pi)
    picture *= ambient / irradiance_of_picture(Environment(picture), support_normal)
    # A direction that nobody saw must not throw a hard shadow.
    radius = np.radians(18.0 if flagged else 4.0)
    picture = picture + _disc(hw, key.direction, radius, key.strength * ambient)
    return LightEstimate(
        Environment(picture.astype(np.float32)), key.direction, key.confidence, flagged, albedo, sh
    )


def light_chroma(radiance: Array, weight: Array) -> Array:
    """(3,) colour of the light with luminance 1, from (N, 3) radiance and (N,) weight.

    Shades of grey (Finlayson & Trezzi 2004, p = 6): bright surfaces tell the light's colour better than the mean does,
    which is that of the floor. Even so a brown room is no orange lamp, and cameras are white-balanced: a third of the
    cast, as an exponent, is taken for the light and the rest for paint.
    """
    norm = np.average(np.maximum(radiance, 1e-6) ** 6, axis=0, weights=weight) ** (1 / 6)
    chroma = np.cbrt(norm / (norm @ REC709))
    return chroma / (chroma @ REC709)


def soft_box(hw: tuple[int, int], up: Array = UP) -> Array:
    """(H, W) radiance of an overhead soft box with a dimmer horizon, 0 below it."""
    height = directions(hw) @ np.asarray(up, np.float64)
    return np.where(height > 0, 0.35 + 0.65 * np.clip(height, 0, 1) ** 1.5, 0.0)


def _filled(panorama: Array, coverage: Array, target: Array, albedo: Array, up: Array) -> Array:
    """(H, W, 3) panorama completed by a soft box above and the floor below; (3,) ``target`` irradiance from above."""
    hw = coverage.shape
    below = directions(hw) @ np.asarray(up, np.float64) <= 0
    known = panorama * coverage[..., None]
    missing = (soft_box(hw, up) * (1 - coverage))[..., None] * np.ones(3)
    have, box = (irradiance_of_picture(Environment(part), up) for part in (known, missing))
    # What was seen may not explain all light (lamps and windows clip), nor may the unseen go dark.
    scale = np.maximum((target - have) / np.maximum(box, 1e-9), 0.2 * target / np.pi)
    return known + missing * scale + (below * (1 - coverage))[..., None] * (albedo * target / np.pi)


def _corrected_harmonics(
    samples: ShadingSamples, groups: Array, direct: Array, prior: Array, ambient: Array, albedo: Array, rounds: int = 6
) -> Array:
    """(9, 3) harmonics nearest to ``prior`` that explain the shading: robust ridge, alternating with group albedos.

    ``radiance = albedo_g / pi * (irradiance(sh, n) + direct)``, where ``direct`` (N, 3) is the key's share; the
    support's albedo is fixed, which holds the gauge.
    """
    basis = sh_basis(samples.normals) * COSINE_LOBE  # (N, 9)
    # In the prior's own unit (its irradiance from above), and as loose as shading usually is.
    spread = 0.35 * float(ambient @ REC709) / COSINE_LOBE
    names = np.unique(groups)
    sh, weight = prior.copy(), samples.weight.copy()
    for _ in range(rounds):
        light = np.maximum(basis @ sh + direct, 0.05 * ambient)
        paint = np.empty_like(light)
        for name in names:
            members = groups == name
            fitted = np.pi * np.median(samples.radiance[members] / light[members], axis=0)
            paint[members] = albedo if name == 0 else np.clip(fitted, 0.02, 0.9)
        wanted = np.pi * samples.radiance / paint - direct
        gap = np.abs(((wanted - basis @ sh) / ambient).mean(1))
        # Huber on relative error; thousands of pixels of one table are one observation, not thousands.
        robust = weight / np.maximum(1.0, gap / 0.15)
        robust = robust * (60.0 / max(float(robust.sum()), 60.0))
        noise = (0.25 * float(ambient @ REC709)) ** 2
        weighted = basis * robust[:, None]
        normal_matrix = np.einsum("nk,nl->kl", weighted, basis) / noise + np.diag(1 / spread**2)
        right = np.einsum("nk,nc->kc", weighted, wanted) / noise + prior / (spread**2)[:, None]
        sh = np.linalg.solve(normal_matrix, right)
    return sh


# --- the key -------------------------------------------------------------------------------------------------------


def find_key(samples: ShadingSamples, groups: Array, shadowed: ShadowTest | None = None, seed: int = 0) -> Key | None:
    """The direction whose shading and cast shadows explain the plate best; None when it shows nothing of the kind.

    Every direction of a hemisphere grid is tried: ``radiance = a_g * (ambient(n) + k * lit * max(n . d, 0))`` with a
    free albedo a_g per group, judged by the mean absolute log residual; the best is refined on two finer grids.
    Confidence asks how much better it is than no key, and than any direction more than 35 degrees away.
    """
    keep = np.random.default_rng([seed, 23]).permutation(len(samples))[:2000]
    samples, groups = samples.select(keep), groups[keep]
    log_luminance = np.log(np.maximum(samples.radiance @ REC709, 1e-5))
    ambient = 0.65 + 0.35 * samples.normals[:, 1]  # soft box and floor, as seen by a matt surface
    flat = _misfit(log_luminance, np.log(ambient)[None], groups, samples.weight)[0]
    if flat < 1e-6:
        return None

    def judge(candidates: Array) -> tuple[Array, Array]:
        return _best_strength(samples, groups, log_luminance, ambient, candidates, shadowed)

    coarse = _hemisphere(9.0)
    misfit, strength = judge(coarse)
    best, k = coarse[np.argmin(misfit)], strength[np.argmin(misfit)]
    lowest = misfit.min()
    for span_deg in (6.0, 2.0):
        ring = _around(best, span_deg)
        fine, fine_strength = judge(ring)
        if fine.min() < lowest:
            lowest, best, k = fine.min(), ring[np.argmin(fine)], fine_strength[np.argmin(fine)]
    gain = 1 - lowest / flat
    far = misfit[coarse @ best < np.cos(np.radians(35.0))]
    lead = (far.min() - lowest) / flat if len(far) else 0.0
    confidence = float(np.clip(gain / 0.35, 0, 1) * np.clip(lead / 0.10, 0, 1))
    return Key(best, float(k), confidence) if gain > 0.02 else None


STRENGTHS = (0.4, 0.8, 1.6, 3.2, 6.4)


def _best_strength(
    samples: ShadingSamples,
    groups: Array,
    log_luminance: Array,
    ambient: Array,
    candidates: Array,
    shadowed: ShadowTest | None,
) -> tuple[Array, Array]:
    """Misfit (M,) and key strength (M,) of each candidate direction (M, 3)."""
    received = np.maximum(candidates @ samples.normals.T, 0)
    if shadowed is not None:
        received = np.where(shadowed(samples.positions, candidates), 0.0, received)
    misfits = np.stack(
        [_misfit(log_luminance, np.log(ambient + k * received), groups, samples.weight) for k in STRENGTHS]
    )
    index = misfits.argmin(0)
    return misfits.min(0), np.array(STRENGTHS)[index]


def _misfit(log_luminance: Array, log_light: Array, groups: Array, weight: Array) -> Array:
    """(M,) weighted mean absolute log residual of (M, N) predictions after the best albedo of each group."""
    residual = log_luminance - log_light
    for name in np.unique(groups):
        members = groups == name
        residual[:, members] -= np.median(residual[:, members], axis=1, keepdims=True)
    # einsum, not BLAS: its sums over thousands of terms depend on the thread count.
    return np.einsum("mn,n->m", np.abs(residual), weight) / weight.sum()


def _hemisphere(step_deg: float) -> Array:
    """(M, 3) directions at least 8 degrees above the horizon, about ``step_deg`` apart."""
    rings = []
    for elevation_deg in np.arange(8.0, 90.0, step_deg):
        count = max(round(360 * np.cos(np.radians(elevation_deg)) / step_deg), 1)
        azimuth, elevation = 2 * np.pi * np.arange(count) / count, np.radians(elevation_deg)
        level, height = np.cos(elevation), np.full(count, np.sin(elevation))
        rings.append(np.stack([level * np.sin(azimuth), height, level * np.cos(azimuth)], -1))
    return np.concatenate([*rings, UP[None]])


def _around(direction: Array, span_deg: float) -> Array:
    """(24, 3) directions in two rings within ``span_deg``, above the horizon."""
    side = np.cross(direction, np.eye(3)[np.argmin(np.abs(direction))])
    side /= np.linalg.norm(side)
    other = np.cross(direction, side)
    angle = 2 * np.pi * np.arange(12) / 12
    turn = np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * other
    rings = [direction + np.tan(np.radians(span_deg * share)) * turn for share in (0.5, 1.0)]
    out = np.concatenate(rings)
    out[:, 1] = np.maximum(out[:, 1], 0.05)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def _conventional_key(panorama: Array, coverage: Array, up: Array) -> Key:
    """A mild, high key on the side where the panorama is brightest; straight from above when it shows nothing."""
    up = np.asarray(up, np.float64)
    hw = coverage.shape
    aim = directions(hw)
    upper = (coverage > 0.5) & (aim @ up > 0.05)
    if upper.sum() < 50:
        return Key(up, 0.3, 0.0)
    luminance = np.where(upper, panorama @ REC709, 0.0)
    bright = luminance >= np.percentile(luminance[upper], 95)
    towards = ((luminance * bright)[..., None] * aim * solid_angles(hw)[..., None]).sum((0, 1))
    level = towards - (towards @ up) * up
    length = np.linalg.norm(level)
    if length < 1e-9:
        return Key(up, 0.3, 0.0)
    direction = np.sin(np.radians(55.0)) * up + np.cos(np.radians(55.0)) * level / length
    return Key(direction, 0.3, 0.1)


def _disc(hw: tuple[int, int], direction: Array, radius: float, normal_irradiance: Array) -> Array:
    """(H, W, 3) radiance of a soft-edged disc that gives ``normal_irradiance`` (3,) to a surface that faces it."""
    cosine = directions(hw) @ direction
    step = np.pi / hw[0]
    share = np.clip((radius - np.arccos(np.clip(cosine, -1, 1))) / step + 0.5, 0, 1)
    if not share.any():
        share = (cosine == cosine.max()).astype(np.float64)
    given = (share * np.maximum(cosine, 0) * solid_angles(hw)).sum()
    return share[..., None] / given * normal_irradiance


def mesh_shadow_test(mesh: Mesh, *, start: float) -> ShadowTest:
    """Shadows thrown by the scene's mesh; rays begin ``start`` scene units from the point, past its own roughness."""
    import open3d as o3d

    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    as_tensor = o3d.core.Tensor.from_numpy
    scene.add_triangles(as_tensor(mesh.vertices.astype(np.float32)), as_tensor(mesh.faces.astype(np.uint32)))

    def shadowed(points: Array, towards: Array) -> Array:
        rays = np.empty((len(towards), len(points), 6), np.float32)
        rays[..., :3], rays[..., 3:] = points, towards[:, None]
        return scene.test_occlusions(as_tensor(rays), tnear=start).numpy()

    return shadowed


# --- the panorama --------------------------------------------------------------------------------------------------


def unprojected(
    views: Iterable[View], centre: Array, hw: tuple[int, int], stride_px: int = 2, *, solid: float | None = None
) -> tuple[Array, Array]:
    """What the views show as seen from ``centre``: (H, W, 3) radiance and (H, W) coverage in [0, 1].

    Pixels of unknown depth count as far away; with ``solid``, only pixels of at least that confidence count at all.
    """
    mass = np.zeros(hw[0] * hw[1])
    total = np.zeros((hw[0] * hw[1], 3))
    for view in views:
        cell, radiance = _cells(view, centre, hw, stride_px, solid)
        mass += np.bincount(cell, minlength=len(mass))
        for channel in range(3):
            total[:, channel] += np.bincount(cell, radiance[:, channel], minlength=len(mass))
    # Wrap around before the blur that closes the gaps between samples.
    stack = np.concatenate([total, mass[:, None]], 1).reshape(*hw, 4)
    seen = (stack[..., 3] > 0).astype(np.float64)
    stack = np.where(seen[..., None] > 0, stack / np.maximum(stack[..., 3:], 1), 0.0)
    pad = 8
    blurred = cv2.GaussianBlur(np.pad(stack, ((0, 0), (pad, pad), (0, 0)), mode="wrap"), (0, 0), 1.2)[:, pad:-pad]
    coverage = np.clip(2 * blurred[..., 3] - 0.2, 0, 1)
    return blurred[..., :3] / np.maximum(blurred[..., 3:], 1e-6), coverage


def continued_upwards(radiance: Array, coverage: Array) -> tuple[Array, Array]:
    """Walls go on where the picture ends: what is seen above the horizon is continued as high again.

    (H, W, 3) and (H, W) of ``unprojected`` with ``solid``. A column's continuation has the mean colour of what is seen
    there above the horizon; open sky is not solid and is not continued.
    """
    h = coverage.shape[0]
    above = coverage[: h // 2]
    seen = above > 0.5
    top = np.where(seen.any(0), seen.argmax(0), h // 2)  # first covered row of each column
    elevation = np.pi / 2 - np.pi * (top + 0.5) / h
    reach = np.arctan(2 * np.tan(np.clip(elevation, 0, 1.4)))
    rows = np.pi / 2 - np.pi * (np.arange(h // 2) + 0.5) / h
    extended = (rows[:, None] < reach) & (np.arange(h // 2)[:, None] < top)
    mass = (above * seen).sum(0)
    mean = (radiance[: h // 2] * (above * seen)[..., None]).sum(0) / np.maximum(mass, 1e-9)[:, None]
    out, covered = radiance.copy(), coverage.copy()
    out[: h // 2] = np.where(extended[..., None], mean[None], out[: h // 2])
    covered[: h // 2] = np.where(extended, 1.0, above)
    return out, covered


def _cells(
    view: View, centre: Array, hw: tuple[int, int], stride_px: int, solid: float | None
) -> tuple[Array, Array]:
    """Lat-long cell (N,) and radiance (N, 3) of a view's pixels."""
    part = np.s_[::stride_px, ::stride_px]
    rays = view.camera.rays_from_px(pixel_centres(view.camera.wh)[part]).reshape(-1, 3)
    radiance = view.linear[part].reshape(-1, 3).astype(np.float64)
    rotation, translation = view.camera_from_world[:3, :3], view.camera_from_world[:3, 3]
    towards = rays @ rotation
    keep = np.full(len(rays), solid is None)
    if view.depth is not None:
        z = view.depth.depth[part].reshape(-1)
        towards = np.where((z > 0)[:, None], (rays * z[:, None] - translation) @ rotation - centre, towards)
        if solid is not None:
            keep = (z > 0) & (view.depth.confidence[part].reshape(-1) >= solid)
    uv = uv_from_direction(towards[keep])
    column = np.minimum((uv[:, 0] * hw[1]).astype(np.int64), hw[1] - 1)
    row = np.minimum((uv[:, 1] * hw[0]).astype(np.int64), hw[0] - 1)
    return row * hw[1] + column, radiance[keep]
