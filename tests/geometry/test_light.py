"""Literals of the lat-long convention, harmonics against direct sums, and estimates of light that is known."""

import numpy as np
import pytest

from geometry import light, rigid
from geometry.camera import Camera
from geometry.light import UP, ShadingSamples, View
from geometry.mesh import Mesh
from geometry.render.base import Environment
from geometry.scene import DepthMap, Plane


@pytest.mark.parametrize(
    ("uv", "direction"),
    [
        ((0.5, 0.5), (0, 0, -1)),  # the centre looks along -Z
        ((0.75, 0.5), (1, 0, 0)),  # right of it, +X
        ((0.25, 0.5), (-1, 0, 0)),
        ((0.0, 0.5), (0, 0, 1)),
        ((0.3, 0.0), (0, 1, 0)),  # the top row is +Y
        ((0.3, 1.0), (0, -1, 0)),
        ((0.5, 0.25), (0, np.sqrt(0.5), -np.sqrt(0.5))),
    ],
)
def test_direction_literals(uv, direction):
    np.testing.assert_allclose(light.direction_from_uv(uv), direction, atol=1e-12)


def test_yaw_turns_the_picture_counter_clockwise_from_above():
    # A quarter turn to the left of -Z is -X.
    np.testing.assert_allclose(light.direction_from_uv(np.array([0.5, 0.5]), np.pi / 2), (-1, 0, 0), atol=1e-12)
    np.testing.assert_allclose(light.uv_from_direction(np.array([-1, 0, 0]), np.pi / 2), [0.5, 0.5], atol=1e-12)
    turned = light.rotate(Environment(np.ones((4, 8, 3), np.float32), 0.25), 0.5)
    assert turned.yaw == 0.75


def test_directions_and_coordinates_are_inverse():
    rng = np.random.default_rng(0)
    direction = rng.standard_normal((500, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    back = light.direction_from_uv(light.uv_from_direction(direction, 1.3), 1.3)
    np.testing.assert_allclose(back, direction, atol=1e-9)


def test_solid_angles_cover_the_sphere():
    assert (light.solid_angles((64, 128)) * np.ones((64, 128))).sum() == pytest.approx(4 * np.pi)


def test_constant_light_gives_pi_times_its_radiance():
    picture = np.ones((64, 128, 3)) * (1.0, 2.0, 3.0)
    expected = np.pi * np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(light.irradiance(light.sh_from_picture(picture), UP), expected, rtol=1e-3)
    np.testing.assert_allclose(light.irradiance_of_picture(Environment(picture), UP), expected, rtol=1e-3)


def test_harmonics_agree_with_the_direct_sum_on_smooth_light():
    aim = light.directions((64, 128), 0.7)
    picture = (1 + 0.5 * aim[..., 0] + 0.3 * aim[..., 1] * aim[..., 2])[..., None] * np.ones(3)
    sh = light.sh_from_picture(picture, 0.7)
    for normal in np.random.default_rng(1).standard_normal((5, 3)):
        normal /= np.linalg.norm(normal)
        direct = light.irradiance_of_picture(Environment(picture, 0.7), normal)
        np.testing.assert_allclose(light.irradiance(sh, normal), direct, rtol=2e-3)
    rebuilt = light.sh_basis(aim) @ sh
    np.testing.assert_allclose(rebuilt, picture, atol=2e-3)


def test_given_environment_keeps_the_picture_and_applies_exposure():
    hdri = np.full((2, 4, 3), 0.5, np.float32)
    made = light.given_environment(hdri, yaw=0.1, exposure_ev=2)
    assert made.yaw == 0.1 and (made.radiance == 2.0).all()
    with pytest.raises(ValueError, match="hdri"):
        light.given_environment(hdri * np.nan)
    with pytest.raises(ValueError, match="hdri"):
        light.given_environment(hdri - 1)


def _crate():
    """A unit cube on the floor y = 0."""
    vertices = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (0, 1.0) for z in (-0.5, 0.5)])
    faces = [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
             [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]  # fmt: skip
    return Mesh(vertices, np.array(faces, np.int32))


def _crate_samples(towards, strength, count=1600, seed=0, texture=0.12):
    """Floor and crate under a sky, dimmer from below, and a key of ``strength`` x the sky; paint has texture."""
    rng = np.random.default_rng(seed)
    floor = rng.uniform(-3, 3, (count, 2))
    floor = floor[(np.abs(floor) > 0.5).any(1)]
    points, directions = [np.c_[floor[:, 0], 0 * floor[:, 0], floor[:, 1]]], [np.tile(UP, (len(floor), 1))]
    for axis, side in ((0, 1), (0, -1), (2, 1), (2, -1), (1, 1)):
        face = rng.uniform((-0.5, 0, -0.5), (0.5, 1, 0.5), (count // 10, 3))
        face[:, axis] = 1.0 if axis == 1 else 0.5 * side
        points.append(face)
        directions.append(np.tile(side * np.eye(3)[axis], (len(face), 1)))
    on_support = np.arange(sum(map(len, points))) < len(floor)
    positions, normals = np.concatenate(points), np.concatenate(directions)
    shadowed = light.mesh_shadow_test(_crate(), start=1e-3)
    lit = ~shadowed(positions, towards[None])[0]
    received = 1.5 * (0.7 + 0.3 * normals[:, 1] + strength * lit * np.maximum(normals @ towards, 0))
    paint = np.where(on_support[:, None], (0.33, 0.30, 0.24), (0.6, 0.2, 0.2))
    radiance = paint / np.pi * received[:, None] * np.exp(texture * rng.standard_normal((len(lit), 1)))
    return ShadingSamples(radiance, normals, positions, np.ones(len(lit)), on_support), shadowed


def _towards(elevation_deg, azimuth_deg):
    e, a = np.radians([elevation_deg, azimuth_deg])
    return np.array([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)])


@pytest.mark.parametrize(("elevation_deg", "azimuth_deg"), [(25, 200), (45, 40), (65, 310)])
def test_key_direction_from_shading_and_cast_shadows(elevation_deg, azimuth_deg):
    truth = _towards(elevation_deg, azimuth_deg)
    samples, shadowed = _crate_samples(truth, strength=2.0)
    estimate = light.estimate_light(samples, shadowed=shadowed)
    assert not estimate.flagged and estimate.key_confidence > 0.5
    assert np.degrees(np.arccos(estimate.key_direction @ truth)) < 8
    brightest = np.unravel_index(estimate.environment.radiance.sum(-1).argmax(), (128, 256))
    seen = light.direction_from_uv((np.array(brightest[::-1]) + 0.5) / (256, 128))
    assert np.degrees(np.arccos(seen @ truth)) < 14  # the disc is where the key is


def test_the_estimate_relights_the_scene_as_it_was_seen():
    truth = _towards(45, 40)
    samples, shadowed = _crate_samples(truth, strength=2.0, texture=0.02)
    estimate = light.estimate_light(samples, shadowed=shadowed)
    lit_floor = samples.on_support & ~shadowed(samples.positions, truth[None])[0]
    seen = np.median(samples.radiance[lit_floor], axis=0)
    again = estimate.support_albedo / np.pi * light.irradiance_of_picture(estimate.environment, UP)
    np.testing.assert_allclose(again, seen, rtol=0.03)
    assert estimate.support_albedo @ light.REC709 == pytest.approx(light.GAUGE, rel=0.02)
    # A side of the crate in the key's light against the floor: within a quarter of the truth.
    ratio = light.irradiance_of_picture(estimate.environment, np.array([1.0, 0, 0])) @ light.REC709
    ratio /= light.irradiance_of_picture(estimate.environment, UP) @ light.REC709
    expected = (0.7 + 2 * truth[0]) / (1.0 + 2 * truth[1])
    assert ratio == pytest.approx(expected, rel=0.25)


def test_one_flat_support_is_flagged_and_lit_from_above_without_a_hard_shadow():
    rng = np.random.default_rng(0)
    n = 400
    positions = np.c_[rng.uniform(-1, 1, n), np.zeros(n), rng.uniform(-1, 1, n)]
    radiance = np.array([0.12, 0.10, 0.08]) * np.exp(0.1 * rng.standard_normal((n, 1)))
    samples = ShadingSamples(radiance, np.tile(UP, (n, 1)), positions, np.ones(n), np.ones(n, bool))
    estimate = light.estimate_light(samples)
    assert estimate.flagged and estimate.key_confidence < light.TRUSTED
    environment = estimate.environment
    above, below = (light.irradiance_of_picture(environment, s * UP) @ light.REC709 for s in (1, -1))
    side = light.irradiance_of_picture(environment, np.array([0, 0, 1.0])) @ light.REC709
    assert above > 1.3 * side > 1.3 * below > 0.1 * above  # a gradient, and a floor that bounces
    # The floor looks as it did, so a grey .8 object is .8 / .3 times as bright as the floor.
    np.testing.assert_allclose(
        estimate.support_albedo / np.pi * light.irradiance_of_picture(environment, UP),
        np.median(radiance, axis=0), rtol=0.03,
    )  # fmt: skip
    disc = environment.radiance[..., 1] > 0.5 * environment.radiance[..., 1].max()
    assert (disc * light.solid_angles(disc.shape)).sum() > 0.05  # a broad source, not a point
    # A brown floor is mostly paint: the light is warmer than white, yet less than half as much as the floor.
    chroma = light.irradiance_of_picture(environment, UP)
    assert 1.02 < chroma[0] / chroma[2] < 1.25


def test_no_support_is_an_error():
    one = np.ones((1, 3))
    with pytest.raises(ValueError, match="on the support"):
        light.estimate_light(ShadingSamples(one, one, one, np.ones(1), np.zeros(1, bool)))


def _view(direction, colour, depth=None):
    camera = Camera(60, 60, 40, 30, (80, 60))
    pose = rigid.look_at((0, 1, 0), np.array([0, 1, 0]) + direction)
    return View(np.ones((60, 80, 3), np.float32) * np.float32(colour), camera, pose, depth)


def test_panorama_shows_views_where_they_lie_as_seen_from_the_centre():
    views = [_view((0, 0, -1), (1, 0, 0)), _view((1, 0, 0), (0, 1, 0))]
    panorama, coverage = light.unprojected(views, np.array([0.0, 1, 0]), (32, 64))
    ahead, right, behind = (16, 32), (16, 48), (16, 0)
    np.testing.assert_allclose(panorama[ahead], (1, 0, 0), atol=1e-6)
    np.testing.assert_allclose(panorama[right], (0, 1, 0), atol=1e-6)
    assert coverage[ahead] == 1 and coverage[right] == 1 and coverage[behind] == 0


def test_panorama_uses_depth_for_parallax():
    # A wall 2 ahead of the camera; from a centre on that line, 4 ahead, it lies behind.
    wall = DepthMap(np.full((60, 80), 2.0, np.float32), np.ones((60, 80), np.float32))
    _, coverage = light.unprojected([_view((0, 0, -1), (1, 1, 1), wall)], np.array([0.0, 1, -4]), (32, 64))
    assert coverage[16, 0] == 1 and coverage[16, 32] == 0


def test_environment_from_a_panorama_keeps_the_support_as_bright_as_seen():
    samples, _ = _crate_samples(_towards(45, 40), strength=0.0)
    bright_left = [_view((-1, 0.3, 0), (3, 3, 3)), _view((1, 0.3, 0), (0.1, 0.1, 0.1))]
    estimate = light.estimate_light(samples, views=bright_left, centre=np.array([0.0, 1, 0]))
    assert estimate.flagged
    assert estimate.key_direction is not None
    assert estimate.key_direction[0] < -0.3  # the conventional key stands on the bright side
    again = estimate.support_albedo / np.pi * light.irradiance_of_picture(estimate.environment, UP)
    np.testing.assert_allclose(again, np.median(samples.radiance[samples.on_support], axis=0), rtol=0.05)
    assert (estimate.environment.radiance >= 0).all()


def test_samples_from_a_frame_have_the_surfaces_normals():
    camera = Camera(100, 100, 40, 30, (80, 60))
    pose = rigid.look_at((0, 1, 2.0), (0, 0, 0))
    floor = Plane(UP, 0.0)
    pixels = np.stack(np.meshgrid(np.arange(80) + 0.5, np.arange(60) + 0.5), -1)
    towards = camera.rays_from_px(pixels) @ pose[:3, :3]
    origin = rigid.inverse(pose)[:3, 3]
    wall = Plane(np.array([0.0, 0, 1]), -0.5)
    depth = np.minimum(*(np.where(t > 0, t, 1e3) for t in (floor.intersect(origin, towards),
                                                           wall.intersect(origin, towards))))  # fmt: skip
    view = View(np.full((60, 80, 3), 0.4, np.float32), camera, pose,
                DepthMap(depth.astype(np.float32), np.ones((60, 80), np.float32)))  # fmt: skip
    samples = light.shading_samples(view, floor, tolerance=0.02)
    assert samples.on_support.sum() > 50
    np.testing.assert_allclose(samples.positions[samples.on_support, 1], 0, atol=0.02)
    upper = samples.positions[:, 1] > 0.1
    assert upper.sum() > 20
    np.testing.assert_allclose(np.median(samples.normals[upper], axis=0), (0, 0, 1), atol=0.02)


def test_a_wall_goes_on_above_the_picture_and_the_open_sky_does_not():
    radiance, coverage = np.zeros((64, 128, 3)), np.zeros((64, 128))
    row = 32 - round(64 * 20 / 180)  # the wall is seen up to 20 degrees
    radiance[row:40, :50], coverage[row:40, :50] = (0.4, 0.2, 0.1), 1.0
    out, covered = light.continued_upwards(radiance, coverage)
    as_high_again = np.degrees(np.arctan(2 * np.tan(np.radians(20))))
    np.testing.assert_allclose(covered[:, 10].sum() - 8, 64 * as_high_again / 180, atol=1.5)
    np.testing.assert_allclose(out[32 - round(64 * 30 / 180), 10], (0.4, 0.2, 0.1))
    assert covered[:32, 60:].max() == 0
