"""The object put on a plate must look like the scene rendered with it."""

from __future__ import annotations

import numpy as np
import pytest

from geometry import rigid
from geometry.camera import Camera
from geometry.mesh import Material
from geometry.render.base import Instance, RenderScene, View
from geometry.render.denoise import ReceiverLight, denoise_ratio
from geometry.render.differential import plane_instance, soften_towards_one, trace_layers
from geometry.scene import GBuffer, Plane
from tests.geometry.render.shapes_for_render import at, box, constant_light, instance, lamp

CAMERA = Camera(130.0, 130.0, 80.0, 60.0, (160, 120))
VIEW = View(CAMERA, (rigid.look_at((1.2, 2.4, 5.0), (0, 0.4, 0)),))
GROUND = Plane(np.array([0.0, 1.0, 0.0]), 0.0)
SUPPORT = plane_instance(GROUND, np.zeros(3), 40.0, 0.3, 100)
BOX = box(0.5)
ON_GROUND = instance(BOX, 1, at(0, 0.5, 0))
SUN = lamp(8, 44)


def layers(renderer, *, objects=(ON_GROUND,), receivers=(SUPPORT,), light=SUN, view=VIEW, spp=32, **more):
    return trace_layers(
        renderer, objects=objects, receivers=receivers, environment=light, view=view, spp=spp, seed=1, **more
    ).layers()


def pixel(point, view=VIEW) -> tuple[int, int]:
    x, y = view.camera.px_from_cam(rigid.transform(view.camera_from_world[0], np.array(point, float)))
    return int(y), int(x)


def test_composite_equals_the_scene_rendered_with_the_object(best_renderer):
    found = layers(best_renderer, spp=64)
    kw = {"objects": [1], "spp": 256, "seed": 9}
    plate = best_renderer.trace(RenderScene((SUPPORT,), SUN), VIEW, **kw).rest_rgb
    truth = best_renderer.trace(RenderScene((ON_GROUND, SUPPORT), SUN), VIEW, **kw)
    truth = truth.object_rgb + truth.rest_rgb
    composite = plate * found.ratio * (1 - found.alpha[..., None]) + found.beauty
    # The lamp in the sky is hundreds of times brighter than what it lights; the plate is exposed for the ground.
    error = np.clip(composite, 0, 1) - np.clip(truth, 0, 1)
    assert -10 * np.log10((error**2).mean()) > 35
    without = np.clip(plate, 0, 1) - np.clip(truth, 0, 1)
    assert (error**2).mean() < 0.02 * (without**2).mean()


def test_shadow_is_dark_where_the_lamp_is_hidden_and_exactly_one_far_away(best_renderer):
    ratio = layers(best_renderer).ratio
    # The lamp stands 45 degrees high, azimuth (44 / 64 - 1/2) of a turn right of -z.
    azimuth = (44 / 64 - 0.5) * 2 * np.pi
    away = -np.array([np.sin(azimuth), 0, -np.cos(azimuth)])
    assert (ratio[pixel(away * 0.85)] < 0.4).all()
    assert (ratio[pixel(-away * 2.0)] > 0.95).all()
    assert (ratio[:10] == 1).all() and (ratio == 1).all(-1).mean() > 0.5


def test_ratio_follows_the_long_render_from_the_contact_outwards(best_renderer):
    light = constant_light(1.0)
    ratio = layers(best_renderer, light=light, spp=64).ratio.mean(-1)
    kw = {"objects": [100], "spp": 512, "seed": 4, "max_depth": 3}
    lit = best_renderer.trace(RenderScene((ON_GROUND, SUPPORT), light), VIEW, **kw).object_rgb.mean(-1)
    free = best_renderer.trace(RenderScene((SUPPORT,), light), VIEW, **kw).object_rgb.mean(-1)
    true_ratio = lit / np.maximum(free, 1e-6)
    distances, along = (0.6, 0.7, 0.9, 1.2, 1.6), np.linspace(-0.4, 0.4, 15)
    found, true = (
        np.array([np.mean([values[pixel((x, 0, z))] for x in along]) for z in distances])
        for values in (ratio, true_ratio)
    )
    assert np.abs(found - true).max() < 0.03
    assert true[0] < 0.78 and (np.diff(found) > 0).all()


def test_no_light_leaks_under_the_object_at_the_contact(best_renderer):
    """Along the foot of the box the ratio rises from the contact outwards, it never starts bright."""
    ratio = layers(best_renderer, light=constant_light(1.0), spp=64).ratio.mean(-1)
    for x in np.linspace(-0.4, 0.4, 9):
        assert ratio[pixel((x, 0, 0.52))] < 0.8


def test_pixels_without_a_receiver_keep_ratio_one(best_renderer):
    small = plane_instance(GROUND, np.zeros(3), 0.8, 0.3, 100)
    found = layers(best_renderer, receivers=(small,))
    outside = best_renderer.gbuffer(RenderScene((small,), SUN), VIEW).object_id == 0
    interior = outside & ~np.roll(~outside, 1, 0) & ~np.roll(~outside, -1, 0) & ~np.roll(~outside, 1, 1)
    interior &= ~np.roll(~outside, -1, 1)
    assert (found.ratio[interior] == 1).all()
    assert (found.ratio != 1).any()
    assert (layers(best_renderer, receivers=()).ratio == 1).all()


def test_black_light_changes_nothing(best_renderer):
    found = layers(best_renderer, light=constant_light(0.0), spp=8)
    assert (found.ratio == 1).all()
    assert not found.beauty.any() and found.alpha.max() == 1


def test_object_outside_the_picture(best_renderer):
    found = layers(best_renderer, objects=(instance(BOX, 1, at(500, 0.5, 0)),), spp=8)
    assert not found.alpha.any() and not found.depth.any() and (found.ratio == 1).all()


def test_object_behind_the_camera(best_renderer):
    found = layers(best_renderer, objects=(instance(BOX, 1, at(5, 0.5, 20)),), spp=8, light=constant_light())
    assert not found.alpha.any()


def test_depth_and_ids_cover_every_pixel_that_the_object_touches(best_renderer):
    found = layers(best_renderer, spp=16)
    touched = found.alpha > 0
    assert (found.object_id[touched] == 1).all() and (found.depth[touched] > 0).all()
    assert not found.object_id[~touched].any() or (found.object_id[~touched] == 1).sum() < 5
    centre = rigid.transform(VIEW.camera_from_world[0], np.array([0, 0.5, 0.0]))[2]
    assert abs(np.median(found.depth[touched]) - centre) < 0.9


def test_two_objects_hide_and_shade_each_other(best_renderer):
    roof = instance(BOX, 2, at(0, 2.1, 0) @ np.diag([3.0, 0.2, 3.0, 1.0]))
    light = constant_light(1.0)
    alone, both = layers(best_renderer, light=light), layers(best_renderer, light=light, objects=(ON_GROUND, roof))
    assert set(np.unique(both.object_id)) == {0, 1, 2}
    top = pixel((0.0, 0.3, 0.5))
    assert both.beauty[top].mean() < 0.9 * alone.beauty[top].mean()


def test_motion_is_the_object_s_and_the_camera_s(best_renderer):
    step = 0.1
    moving = Instance((BOX,), at(0, 0.5, 0), 1, world_from_object_next=at(step, 0.5, 0))
    camera = Camera(100.0, 100.0, 80.0, 60.0, (160, 120))
    view = View(camera, (rigid.look_at((0, 0.5, 4.5), (0, 0.5, 0)),))
    found = layers(best_renderer, objects=(moving,), view=view, next_view=view, spp=8)
    # The box's front stands 4 away: 0.1 there is 100 * 0.1 / 4 = 2.5 px to the right.
    np.testing.assert_allclose(found.motion[60, 80], [2.5, 0.0], atol=1e-3)
    panned = View(camera, (rigid.look_at((step, 0.5, 4.5), (step, 0.5, 0)),))
    found = layers(best_renderer, objects=(moving,), view=view, next_view=panned, spp=8)
    np.testing.assert_allclose(found.motion[60, 80], [0.0, 0.0], atol=1e-3)
    assert not found.motion[0, 0].any()


def test_same_seed_same_layers(best_renderer):
    first, second = layers(best_renderer, spp=16), layers(best_renderer, spp=16)
    for name in ("beauty", "alpha", "ratio", "depth", "normal", "motion", "object_id"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_a_shutter_blurs_the_object(best_renderer):
    poses = tuple(VIEW.camera_from_world[0] @ at(0.15 * k, 0, 0) for k in range(4))
    sharp, blurred = layers(best_renderer), layers(best_renderer, view=View(CAMERA, poses))
    soft = [((x.alpha > 0.05) & (x.alpha < 0.95)).sum() for x in (sharp, blurred)]
    assert soft[1] > 2 * soft[0]
    assert blurred.alpha.sum() == pytest.approx(sharp.alpha.sum(), rel=0.05)


def test_ids_used_twice_are_refused(best_renderer):
    with pytest.raises(ValueError, match="object_id"):
        layers(best_renderer, objects=(ON_GROUND, ON_GROUND))
    with pytest.raises(ValueError, match="objects: expected at least one"):
        layers(best_renderer, objects=())


def test_scalar_variant_draws_the_same_layers_small():
    from tests.geometry.render.conftest import renderer_named

    small = View(CAMERA.scaled((64, 48)), VIEW.camera_from_world)
    fast, slow = (layers(renderer_named(name), view=small, spp=16) for name in ("auto", "scalar"))
    assert np.abs(fast.alpha - slow.alpha).max() < 0.4 and np.abs(fast.alpha - slow.alpha).mean() < 0.005
    assert np.abs(fast.ratio - slow.ratio).mean() < 0.03
    assert np.abs(fast.beauty.mean() - slow.beauty.mean()) < 0.03 * fast.beauty.mean()


def test_plane_instance_lies_in_its_plane():
    normal = np.array([0.6, 0.8, 0.0])
    plane = Plane(normal, 2.0)
    made = plane_instance(plane, np.array([5.0, 1.0, -3.0]), 4.0, (0.1, 0.2, 0.3), 7)
    corners = rigid.transform(made.world_from_object, made.meshes[0].vertices)
    np.testing.assert_allclose(plane.distance(corners), 0, atol=1e-12)
    a, b, c = corners[made.meshes[0].faces[0]]
    assert np.cross(b - a, c - a) @ normal > 0
    assert made.meshes[0].material == Material(base_color=(0.1, 0.2, 0.3), roughness=1.0)


def test_roll_off_literals():
    ratio = np.array([[0.985] * 3, [1.02] * 3, [0.5] * 3, [0.97, 1.0, 1.0], [1.04, 1, 1]])
    soft = soften_towards_one(ratio)
    np.testing.assert_array_equal(soft[:2], 1)
    np.testing.assert_allclose(soft[2], 0.5)
    np.testing.assert_allclose(soft[3], [1 - 0.03 * 0.5, 1, 1], atol=1e-6)  # half way, smoothstep is a half
    np.testing.assert_allclose(soft[4], [1.04, 1, 1], atol=1e-6)


def noisy_step(sigma: float, hw=(60, 80)) -> tuple[ReceiverLight, ReceiverLight, GBuffer]:
    """A ratio of 0.3 on the left and 1 on the right, seen with noise that both sides share on the right."""
    rng = np.random.default_rng(0)
    h, w = hw
    truth = np.where(np.arange(w) < w // 2, 0.3, 1.0)[None, :].repeat(h, 0)
    noise = 1 + sigma * rng.standard_normal((2, h, w, 1))
    free = np.broadcast_to(noise, (2, h, w, 3)).astype(np.float32)
    own = np.where(truth[None, ..., None] < 1, 1 + sigma * rng.standard_normal((2, h, w, 1)), noise)
    lit = np.broadcast_to(truth[None, ..., None] * own, (2, h, w, 3)).astype(np.float32)
    share = np.ones((2, h, w), np.float32)
    normal = np.broadcast_to(np.array([0, 1, 0], np.float32), (h, w, 3))
    x, z = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    position = np.stack([x, np.zeros_like(x), z], -1)
    flat = GBuffer(np.full((h, w), 50, np.float32), normal, position, np.ones((h, w), np.int32), np.zeros((h, w, 2)))
    return ReceiverLight(lit, share), ReceiverLight(free, share), flat


def test_denoiser_removes_noise_and_keeps_the_edge():
    lit, free, surface = noisy_step(0.2)
    ratio = denoise_ratio(lit, free, surface)
    raw = lit.rgb.mean(0) / free.rgb.mean(0)
    dark = np.s_[:, 4:36]
    assert np.std(ratio[dark]) < 0.2 * np.std(raw[dark])
    assert abs(ratio[dark].mean() - 0.3) < 0.01
    np.testing.assert_allclose(ratio[:, 40:], 1, atol=0.02)
    assert np.abs(ratio[:, 38:40].mean() - 0.3) < 0.05  # the two columns at the edge


def test_denoiser_gives_one_without_light_or_receiver():
    lit, _, surface = noisy_step(0.1)
    nothing = ReceiverLight(np.zeros_like(lit.rgb), np.zeros_like(lit.share))
    assert (denoise_ratio(nothing, nothing, surface) == 1).all()
    dark = ReceiverLight(np.zeros_like(lit.rgb), lit.share)
    np.testing.assert_allclose(denoise_ratio(dark, dark, surface), 1, atol=1e-6)
