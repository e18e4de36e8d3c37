"""The light on an object loses its noise and nothing else. Truth is made by hand: a colour times a light."""

from __future__ import annotations

import numpy as np

from geometry.render.base import RenderScene
from geometry.render.denoise import ObjectLight, denoise_object
from geometry.scene import GBuffer
from tests.geometry.render.shapes_for_render import ball, constant_light, instance
from tests.geometry.render.test_trace_contract import from_front

HW = (64, 96)
NOISE = 0.25


def flat_surface(hw=HW) -> GBuffer:
    h, w = hw
    x, y = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    normal = np.broadcast_to(np.array([0, 0, -1], np.float32), (h, w, 3))
    depth = np.full((h, w), 100, np.float32)
    position, uv = np.stack([x, y, depth], -1), np.zeros((h, w, 2), np.float32)
    return GBuffer(depth, normal, position, np.ones((h, w), np.int32), uv)


def noisy(colour: np.ndarray, light: np.ndarray, share: np.ndarray | None = None, noise: float = NOISE) -> ObjectLight:
    """Two halves of ``colour * light`` (H, W, 3), each with relative noise of its own."""
    rng = np.random.default_rng(3)
    covered = np.ones(colour.shape[:2], np.float32) if share is None else share
    grains = 1 + noise * rng.standard_normal((2, *colour.shape[:2], 1))
    rgb = (colour * light * grains * covered[..., None]).astype(np.float32)
    return ObjectLight(rgb, np.stack([covered, covered]), (colour * covered[..., None]).astype(np.float32))


def error(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sqrt(((found - truth) ** 2).mean()))


def stripes() -> np.ndarray:
    """One-pixel stripes of two colours: the finest texture there is."""
    odd = (np.arange(HW[1]) % 2 == 1)[None, :, None]
    return np.where(odd, [0.8, 0.7, 0.1], [0.7, 0.8, 0.2]).repeat(HW[0], 0)


def slope() -> np.ndarray:
    return np.linspace(0.5, 2.0, HW[0])[:, None, None].repeat(HW[1], 1).repeat(3, 2)


def test_noise_goes_and_the_finest_texture_stays():
    light = noisy(stripes(), slope())
    truth = stripes() * slope()
    found = denoise_object(light, flat_surface())
    assert error(found, truth) < 0.25 * error(light.rgb.mean(0), truth)
    swing = (found[:, 0::2] - found[:, 1::2]).mean((0, 1))
    np.testing.assert_allclose(swing, (truth[:, 0::2] - truth[:, 1::2]).mean((0, 1)), rtol=0.05)


def test_a_shadow_s_edge_stays_where_it_is():
    light = np.where(np.arange(HW[1]) < 48, 0.2, 1.0)[None, :, None].repeat(HW[0], 0).repeat(3, 2)
    colour = np.full((*HW, 3), 0.5)
    found = denoise_object(noisy(colour, light), flat_surface())
    np.testing.assert_allclose(found[:, 46:48].mean(), 0.1, atol=0.03)
    np.testing.assert_allclose(found[:, 48:50].mean(), 0.5, atol=0.03)


def test_a_highlight_in_both_halves_stays_and_a_lone_sample_goes():
    light = np.ones((*HW, 3))
    light[20:23, 30:33] = 8.0
    made = noisy(np.full((*HW, 3), 0.5), light, noise=0.05)
    made.rgb[0, 45, 70] = 100.0
    found = denoise_object(made, flat_surface())
    assert found[21, 31].mean() > 0.7 * 4.0
    assert found[45, 70].mean() < 1.0 and found[44:47, 69:72].mean() < 0.8


def test_partly_covered_pixels_keep_their_share_and_nothing_is_spread_outside():
    share = np.zeros(HW, np.float32)
    share[10:50, 20:70] = 1.0
    share[10:50, 70] = 0.3
    colour, light = np.full((*HW, 3), 0.5), np.full((*HW, 3), 2.0)
    found = denoise_object(noisy(colour, light, share), flat_surface())
    np.testing.assert_allclose(found[12:48, 70].mean(), 0.3, rtol=0.03)
    assert not found[share == 0].any()


def test_two_colours_do_not_lend_each_other_their_gloss():
    """A dark pane that mirrors green beside white paint: dark and white share no light."""
    dark = (np.arange(HW[1]) < 48)[None, :, None].repeat(HW[0], 0)
    colour = np.where(dark, 0.02, 0.8).repeat(3, 2)
    light = np.where(dark, np.array([0.1, 4.0, 0.1]), np.array([1.0, 1.0, 1.0]))
    found = denoise_object(noisy(colour, light), flat_surface())
    white = found[:, 48:52].mean((0, 1))
    np.testing.assert_allclose(white / white.mean(), 1, atol=0.03)


def test_nothing_gives_nothing():
    dark = np.zeros((2, *HW, 3), np.float32)
    assert not denoise_object(ObjectLight(dark, dark[..., 0], dark[0]), flat_surface()).any()


def test_tracers_give_the_base_colour_of_what_they_hit(tracer):
    scene = RenderScene((instance(ball(1.0)),), constant_light(1.0))
    seen = tracer.trace(scene, from_front(), objects=[1], spp=16, seed=0)
    np.testing.assert_allclose(seen.object_albedo, 0.6 * seen.object_alpha[..., None].repeat(3, 2), atol=1e-3)
