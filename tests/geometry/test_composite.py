"""The composite's two promises: the layer identity in linear light, and untouched pixels bit by bit."""

import numpy as np
import pytest

from geometry import rigid
from geometry.camera import Camera
from geometry.composite import composite, held_out, plane_depth, receiver_visibility
from geometry.masks import effect_matte
from geometry.scene import DepthMap, Plane, RenderLayers

HW = (48, 64)


def _layers(ratio, alpha, beauty=0.4):
    h, w = alpha.shape
    zero = np.zeros((h, w), np.float32)
    return RenderLayers(
        beauty=(alpha[..., None] * beauty * np.ones(3)).astype(np.float32),
        alpha=alpha,
        ratio=ratio,
        depth=zero,
        normal=np.zeros((h, w, 3), np.float32),
        motion=np.zeros((h, w, 2), np.float32),
        object_id=zero.astype(np.int32),
    )


def _encode16(linear):
    return np.round(np.clip(linear, 0, 1) ** (1 / 2.2) * 65535).astype(np.uint16)


@pytest.fixture
def frame():
    rng = np.random.default_rng(3)
    code = rng.integers(0, 65536, (*HW, 3)).astype(np.uint16)
    alpha, ratio = np.zeros(HW, np.float32), np.ones((*HW, 3), np.float32)
    alpha[10:20, 10:20], alpha[20, 10:20] = 1.0, 0.3
    ratio[18:30, 8:26] = 0.6
    return code, (code / 65535.0).astype(np.float32) ** 2.2, _layers(ratio, alpha)


def test_pixels_outside_the_effect_keep_their_code_values(frame):
    code, linear, layers = frame
    visible = np.ones(HW, np.float32)
    visible[10:14] = 0.0
    made = composite(code, linear, layers, visible, _encode16)
    assert made.code.dtype == np.uint16
    np.testing.assert_array_equal(made.code[~made.effect], code[~made.effect])
    expected = np.zeros(HW, bool)
    expected[14:21, 10:20] = expected[18:30, 8:26] = True
    np.testing.assert_array_equal(made.effect, expected)


def test_layers_rebuild_the_composite_in_linear_light(frame):
    code, linear, layers = frame
    visible = np.random.default_rng(1).random(HW).astype(np.float32)
    made = composite(code, linear, layers, visible, _encode16)
    rgba = made.object_premultiplied
    rebuilt = linear * made.ratio * (1 - rgba[..., 3:]) + rgba[..., :3]
    np.testing.assert_allclose(rebuilt, made.linear, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(made.code[made.effect], _encode16(made.linear)[made.effect])


def test_one_pixel_by_hand():
    plate = np.full((1, 1, 3), 0.5, np.float32)
    layers = _layers(np.full((1, 1, 3), 0.8, np.float32), np.full((1, 1), 0.5, np.float32), beauty=1.0)
    made = composite(np.zeros((1, 1, 3), np.uint16), plate, layers, np.full((1, 1), 0.5, np.float32), _encode16)
    # A = .25: .5 * .8 * .75 + .5 * .5
    np.testing.assert_allclose(made.linear, 0.55, rtol=1e-6)


def test_nothing_to_insert_returns_the_plate_without_encoding(frame):
    code, linear, _ = frame
    nothing = _layers(np.ones((*HW, 3), np.float32), np.zeros(HW, np.float32))

    def refuse(_):
        raise AssertionError("encoded without need")

    made = composite(code, linear, nothing, np.ones(HW, np.float32), refuse)
    np.testing.assert_array_equal(made.code, code)
    assert not made.effect.any()


def test_an_encoder_of_another_type_is_refused(frame):
    code, linear, layers = frame
    with pytest.raises(TypeError, match="expected uint16"):
        composite(code, linear, layers, np.ones(HW, np.float32), lambda x: x)


def test_a_wrong_raster_is_named(frame):
    code, linear, layers = frame
    with pytest.raises(ValueError, match="visible"):
        composite(code, linear, layers, np.ones((5, 5)), _encode16)


def test_effect_matte_ignores_less_than_half_a_code_value():
    ratio = np.ones((1, 4, 3), np.float32)
    ratio[0, 0], ratio[0, 1] = 1 + 1 / 600, 1 - 1 / 100
    alpha = np.array([[0, 0, 0.5, 1e-3]], np.float32)
    matte = effect_matte(ratio, alpha, np.ones((1, 4), np.float32))
    np.testing.assert_array_equal(matte, [[False, True, True, False]])


def test_a_shadow_is_exactly_one_on_what_stands_in_front():
    ratio = np.full((2, 2, 3), 0.3, np.float32)
    out = held_out(ratio, np.array([[1, 0], [0.5, 1]], np.float32))
    assert (out[0, 1] == 1).all()
    np.testing.assert_allclose(out[1, 0], 0.65, rtol=1e-6)
    np.testing.assert_allclose(out[0, 0], 0.3, rtol=1e-6)


def test_plane_depth_literal():
    camera = Camera(100, 100, 32, 24, (64, 48))
    pose = rigid.look_at((0, 1, 0), (0, 1, -1))  # level, one unit above the floor
    depth = plane_depth(Plane(np.array([0.0, 1, 0]), 0.0), camera, pose)
    assert (depth[:24] == 0).all()  # above the horizon
    np.testing.assert_allclose(depth[33, 10], 100 / 9.5, rtol=1e-5)  # 9.5 px below the horizon


@pytest.mark.parametrize("other_depth", [2.0, 4.5], ids=["a post in front", "what lies behind a table's edge"])
def test_shadow_falls_on_its_support_only(other_depth: float):
    h, w = 120, 160
    rng = np.random.default_rng(0)
    post = np.zeros((h, w), bool)
    post[:, 70:90] = True
    floor = np.full((h, w), 3.0, np.float32)
    noisy = np.where(post, other_depth, floor * (1 + 0.015 * rng.standard_normal((h, w)))).astype(np.float32)
    plate = np.where(post[..., None], (40, 60, 160), (150, 140, 120)) + rng.normal(0, 2, (h, w, 3))
    ratio = np.ones((h, w, 3), np.float32)
    ratio[30:90, 30:130] = 0.5
    scene = DepthMap(noisy, np.full((h, w), 0.85, np.float32))
    receiver = receiver_visibility(scene, floor, ratio, plate.clip(0, 255).astype(np.uint8))
    inside = np.zeros((h, w), bool)
    inside[30:90, 30:130] = True
    assert receiver[inside & post].mean() < 0.03
    assert receiver[inside & ~post].mean() > 0.97
