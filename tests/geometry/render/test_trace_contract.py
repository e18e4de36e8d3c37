"""What every path tracer must show: energy, directions of light, coverage, determinism."""

from __future__ import annotations

import drjit
import numpy as np
import pytest

from geometry import rigid
from geometry.camera import Camera
from geometry.mesh import Material
from geometry.render import make_renderer
from geometry.render.base import Environment, RenderScene, View
from tests.geometry.render.shapes_for_render import at, ball, box, constant_light, instance, lamp, quad

CAMERA = Camera(40.0, 40.0, 24.0, 18.0, (48, 36))
GROUND = quad((0, 0, 0), (30, 0, 0), (0, 0, -30), Material(base_color=(0.3, 0.3, 0.3), roughness=1.0))
BOX = box(0.5)
FROM_ABOVE = View(CAMERA, (rigid.look_at((0, 6, 0.01), (0, 0, 0), up=(0, 0, -1)),))


def from_front(distance: float = 4.0) -> View:
    return View(CAMERA, (rigid.look_at((0, 0, distance), (0, 0, 0)),))


def test_furnace_a_convex_matt_object_under_constant_light_shows_its_albedo(tracer):
    scene = RenderScene((instance(ball(1.0)),), constant_light(1.0))
    seen = tracer.trace(scene, from_front(), objects=[1], spp=64, seed=0)
    inside = seen.object_alpha == 1
    assert inside.sum() > 100
    assert seen.object_rgb[inside].mean() == pytest.approx(0.6, rel=0.01)
    np.testing.assert_allclose(seen.rest_rgb[seen.object_alpha == 0], 1.0, rtol=1e-4)


def test_glossy_material_gains_no_energy(tracer):
    gloss = Material(base_color=(1.0, 1.0, 1.0), metallic=1.0, roughness=0.3)
    scene = RenderScene((instance(ball(1.0, material=gloss)),), constant_light(1.0))
    seen = tracer.trace(scene, from_front(), objects=[1], spp=32, seed=0)
    inside = seen.object_alpha == 1
    assert 0.8 < seen.object_rgb[inside].mean() < 1.01


@pytest.mark.parametrize(
    ("yaw_deg", "towards_light"),
    [(0.0, (0, 0, -1)), (90.0, (-1, 0, 0)), (-90.0, (1, 0, 0))],
)
def test_centre_column_of_the_light_looks_along_minus_z_turned_by_yaw(tracer, yaw_deg, towards_light):
    scene = RenderScene((instance(ball(1.0)),), lamp(16, 32, yaw=np.radians(yaw_deg)))
    light, away = np.array(towards_light, float), -np.array(towards_light, float)
    means = []
    for eye in (light, away):
        view = View(CAMERA, (rigid.look_at(eye * 4, (0, 0, 0)),))
        seen = tracer.trace(scene, view, objects=[1], spp=16, seed=0)
        means.append(seen.object_rgb[16:20, 22:26].mean())
    assert means[0] > 20 * means[1]


def test_light_right_of_the_centre_column_comes_from_plus_x(tracer):
    scene = RenderScene((instance(ball(1.0)),), lamp(16, 48))  # three quarters along: a quarter turn to the right
    view = View(CAMERA, (rigid.look_at((4, 0, 0), (0, 0, 0)),))
    lit = tracer.trace(scene, view, objects=[1], spp=16, seed=0).object_rgb[16:20, 22:26].mean()
    view = View(CAMERA, (rigid.look_at((-4, 0, 0), (0, 0, 0)),))
    dark = tracer.trace(scene, view, objects=[1], spp=16, seed=0).object_rgb[16:20, 22:26].mean()
    assert lit > 20 * dark


def test_shadow_falls_away_from_the_light(tracer):
    light = lamp(8, 48)  # 45 degrees up, from +x
    scene = RenderScene((instance(BOX, 1, at(0, 0.5, 0)), instance(GROUND, 2)), light)
    seen = tracer.trace(scene, FROM_ABOVE, objects=[1], spp=16, seed=0)
    rest = seen.rest_rgb.mean(-1) / np.maximum(1 - seen.object_alpha, 1e-3)
    pixels = CAMERA.px_from_cam(rigid.transform(FROM_ABOVE.camera_from_world[0], np.array([[-1.0, 0, 0], [1.0, 0, 0]])))
    (left, right) = (rest[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].mean() for x, y in pixels)
    assert left < 0.2 * right


def test_coverage_centroid_is_the_projected_point(tracer):
    camera = Camera(60.0, 66.0, 21.3, 20.6, (48, 36)).overscanned(4)
    pose = rigid.look_at((0.2, 0.1, 4), (0.1, 0, 0))
    target = np.array([0.35, -0.2, 0.0])
    facing = pose[:3, :3]
    tile = quad(target, 0.3 * facing[0], -0.3 * facing[1])
    scene = RenderScene((instance(tile),), constant_light())
    seen = tracer.trace(scene, View(camera, (pose,)), objects=[1], spp=256, seed=0)
    y, x = np.mgrid[: camera.wh[1], : camera.wh[0]] + 0.5
    weights = seen.object_alpha / seen.object_alpha.sum()
    centroid = np.array([(x * weights).sum(), (y * weights).sum()])
    assert np.abs(centroid - camera.px_from_cam(rigid.transform(pose, target))).max() < 0.05


def test_split_adds_up_and_without_rest_the_object_is_the_same(tracer):
    scene = RenderScene((instance(BOX, 1, at(0, 0.5, 0)), instance(GROUND, 2)), constant_light())
    view = View(CAMERA, (rigid.look_at((2, 2, 3), (0, 0.5, 0)),))
    kw = {"spp": 16, "seed": 3}
    box_only, both = (tracer.trace(scene, view, objects=ids, **kw) for ids in ([1], [1, 2]))
    np.testing.assert_allclose(box_only.object_rgb + box_only.rest_rgb, both.object_rgb + both.rest_rgb, atol=1e-5)
    lean = tracer.trace(scene, view, objects=[1], with_rest=False, **kw)
    np.testing.assert_allclose(lean.object_rgb, box_only.object_rgb, atol=1e-6)
    assert not lean.rest_rgb.any()


def test_same_seed_same_picture_at_any_thread_count(tracer):
    scene = RenderScene((instance(BOX, 1, at(0, 0.5, 0)), instance(GROUND, 2)), lamp(8, 40))
    view = View(CAMERA, (rigid.look_at((2, 2, 3), (0, 0.5, 0)),))
    before = drjit.thread_count()
    try:
        pictures = []
        for threads in (1, 2, 2):
            drjit.set_thread_count(threads)
            pictures.append(tracer.trace(scene, view, objects=[1], spp=8, seed=5))
    finally:
        drjit.set_thread_count(before)
    for name in ("object_rgb", "object_alpha", "rest_rgb"):
        first, second, third = (getattr(p, name) for p in pictures)
        np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(second, third)
    other = tracer.trace(scene, view, objects=[1], spp=8, seed=6)
    assert not np.array_equal(other.rest_rgb, pictures[0].rest_rgb)


def test_crop_is_the_crop_of_the_whole(tracer):
    scene = RenderScene((instance(BOX, 1, at(0, 0.5, 0)), instance(GROUND, 2)), constant_light())
    view = View(CAMERA, (rigid.look_at((2, 2, 3), (0, 0.5, 0)),))
    whole = tracer.trace(scene, view, objects=[1], spp=16, seed=5)
    part = tracer.trace(scene, view, objects=[1], spp=16, seed=5, crop=(10, 6, 30, 33))
    inside = np.s_[6:33, 10:30]
    outside = np.ones(CAMERA.hw, bool)
    outside[inside] = False
    assert not part.object_rgb[outside].any() and not part.rest_rgb[outside].any()
    # The scalar variant numbers its pixels within the crop: the same place, other noise.
    tolerance = 0.08 if tracer.variant.name == "scalar_rgb" else 1e-6
    assert np.abs(part.object_alpha[inside] - whole.object_alpha[inside]).mean() < tolerance
    assert np.abs(part.rest_rgb[inside] - whole.rest_rgb[inside]).mean() < tolerance


def test_shutter_samples_share_the_light(tracer):
    poses = (rigid.look_at((0, 0, 4), (0, 0, 0)), rigid.look_at((0, 0, 4), (0, 0, 0)) @ at(-0.4, 0, 0))
    scene = RenderScene((instance(BOX),), constant_light())
    blurred = tracer.trace(scene, View(CAMERA, poses), objects=[1], spp=128, seed=0)
    sharp = [tracer.trace(scene, View(CAMERA, (pose,)), objects=[1], spp=64, seed=1) for pose in poses]
    mean = (sharp[0].object_alpha + sharp[1].object_alpha) / 2
    assert np.abs(blurred.object_alpha - mean).max() < 0.15
    assert np.abs(blurred.object_alpha - mean).mean() < 0.005
    with pytest.raises(ValueError, match="spp: expected at least one per shutter sample, 2, got 1"):
        tracer.trace(scene, View(CAMERA, poses), objects=[1], spp=1, seed=0)


def test_moving_an_instance_and_the_light_equals_a_fresh_scene(tracer):
    radiance = lamp(8, 48).radiance
    view = View(CAMERA, (rigid.look_at((2, 2, 3), (0, 0.5, 0)),))

    def scene(x, yaw):
        return RenderScene((instance(BOX, 1, at(x, 0.5, 0)), instance(GROUND, 2)), Environment(radiance, yaw))

    tracer.trace(scene(0.0, 0.0), view, objects=[1], spp=4, seed=0)
    moved = tracer.trace(scene(0.7, 1.0), view, objects=[1], spp=4, seed=0)
    fresh = make_renderer("mitsuba", "scalar" if "scalar" in tracer.variant.name else "llvm")
    expected = fresh.trace(scene(0.7, 1.0), view, objects=[1], spp=4, seed=0)
    np.testing.assert_allclose(moved.object_rgb, expected.object_rgb, atol=1e-4)
    np.testing.assert_allclose(moved.rest_rgb, expected.rest_rgb, atol=1e-3)


def test_texture_is_upright_and_decoded_from_srgb(tracer):
    texture = np.zeros((2, 2, 3), np.uint8)
    texture[0, 0], texture[0, 1] = (188, 0, 0), (0, 188, 0)  # top row; 188 is linear 0.503
    texture[1, 0], texture[1, 1] = (0, 0, 188), (188, 188, 188)
    paint = Material(base_color=(1.0, 1.0, 1.0), base_texture=texture, roughness=1.0)
    wall = quad((0, 0, 0), (1, 0, 0), (0, 1, 0), paint)
    camera = Camera(48.0, 48.0, 24.0, 24.0, (48, 48))
    view = View(camera, (rigid.look_at((0, 0, 2.0), (0, 0, 0)),))
    scene = RenderScene((instance(wall),), constant_light())
    seen = tracer.trace(scene, view, objects=[1], spp=64, seed=0).object_rgb
    texels = {(12, 12): (1, 0, 0), (12, 36): (0, 1, 0), (36, 12): (0, 0, 1), (36, 36): (1, 1, 1)}
    for (row, column), color in texels.items():  # at texel centres, where no neighbour mixes in
        mean = seen[row - 1 : row + 1, column - 1 : column + 1].mean((0, 1))
        np.testing.assert_allclose(mean, np.array(color) * 0.503, atol=0.04)


def test_vertex_colours_and_glow(tracer):
    glow = Material(base_color=(0.0, 0.0, 0.0), roughness=1.0, emissive=(2.0, 0.5, 0.0))
    wall = quad((0, 0, 0), (3, 0, 0), (0, 3, 0), glow)
    seen = tracer.trace(RenderScene((instance(wall),), constant_light(0.0)), from_front(2), objects=[1], spp=4, seed=0)
    np.testing.assert_allclose(seen.object_rgb[18, 24], [2.0, 0.5, 0.0], atol=1e-4)
    plain = quad((0, 0, 0), (3, 0, 0), (0, 3, 0), Material(base_color=(1.0, 1.0, 1.0), roughness=1.0))
    colors = np.tile([0.5, 0.25, 0.0], (4, 1))
    painted = type(plain)(plain.vertices, plain.faces, material=plain.material, colors=colors)
    seen = tracer.trace(RenderScene((instance(painted),), constant_light()), from_front(2), objects=[1], spp=64, seed=0)
    np.testing.assert_allclose(seen.object_rgb[12:24, 18:30].mean((0, 1)), [0.5, 0.25, 0.0], atol=0.02)


def test_half_transparent_texture_covers_half(tracer):
    texture = np.full((8, 8, 4), 255, np.uint8)
    texture[..., 3] = 128
    glass = Material(base_color=(0.0, 0.0, 0.0), base_texture=texture, roughness=1.0)
    wall = quad((0, 0, 0), (3, 0, 0), (0, 3, 0), glass)
    seen = tracer.trace(RenderScene((instance(wall),), constant_light()), from_front(2), objects=[1], spp=64, seed=0)
    assert seen.object_alpha.mean() == pytest.approx(0.5, abs=0.03)
    assert seen.rest_rgb.mean() == pytest.approx(0.5, abs=0.03)


def test_crop_outside_the_picture_is_refused(best_renderer):
    scene = RenderScene((instance(BOX),), constant_light())
    with pytest.raises(ValueError, match="crop: expected 0 <= x0 < x1 <= 48"):
        best_renderer.trace(scene, from_front(), objects=[1], spp=1, seed=0, crop=(10, 0, 60, 10))


def test_parts_are_what_single_pictures_of_the_next_seeds_would_be(tracer):
    scene = RenderScene((instance(ball(0.8)),), lamp(16, 32, yaw=np.pi))
    moving = View(CAMERA, tuple(rigid.look_at((x, 0, 4), (0, 0, 0)) for x in (-0.2, 0.2)))
    parts = tracer.trace_parts(scene, moving, objects=[1], spp=8, seed=5, parts=2)
    for part, seed in zip(parts, (5, 6), strict=True):
        single = tracer.trace(scene, moving, objects=[1], spp=8, seed=seed)
        np.testing.assert_allclose(part.object_alpha, single.object_alpha, atol=1e-6)
        np.testing.assert_allclose(part.object_rgb, single.object_rgb, rtol=1e-4, atol=1e-5)
    assert (parts[0].object_rgb != parts[1].object_rgb).any()
