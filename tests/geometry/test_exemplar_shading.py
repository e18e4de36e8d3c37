from __future__ import annotations

import numpy as np
import pytest

from geometry.exemplar import shading
from geometry.exemplar.shading import Light, fitted, lit, unlit
from tests.geometry import exemplar_scenes as scenes


def test_light_put_on_and_taken_off():
    picture = np.random.default_rng(0).integers(20, 200, (16, 16, 3)).astype(np.uint8)
    shade = np.full((16, 16), 1.3, np.float32)
    assert np.abs(lit(unlit(picture, shade).astype(np.float32), shade) - picture).max() <= 1.5
    grey = np.full((1, 1, 3), 127.5, np.float32)
    half = lit(grey, np.full((1, 1), 0.5, np.float32))  # sRGB 0.5 is 0.2140 linear; 0.1070 is 0.3608 sRGB
    assert half[0, 0] == pytest.approx([0.3608 * 255] * 3, abs=0.05)


def test_the_default_light_comes_from_above():
    up, down, key = (Light().shade(np.array(n, float)) for n in ((0, 1, 0), (0, -1, 0), (0.48, 0.72, 0.5)))
    assert key > up > down > 0.4


def test_a_painted_light_is_found_by_its_faces():
    """Walls of one colour that are lit from the right, against the default's light."""
    rng = np.random.default_rng(1)
    directions = np.array([(0, 1, 0), (1, 0, 0), (0, 0, 1), (-1, 0, 0), (0.707, 0.707, 0)])
    truth = np.array([0.4, 0.9, 0.5, 0.2, 0.7])
    labels = np.repeat([1, 2], 5 * 2000).reshape(100, 200)
    face = np.tile(np.repeat(np.arange(5), 2000), 2).reshape(100, 200)
    albedo = np.where(labels == 1, 0.8, 0.3) * np.exp(0.1 * rng.standard_normal(labels.shape))
    picture = lit(np.full((100, 200, 3), 255, np.float32), (albedo * truth[face]).astype(np.float32)).round()
    light = fitted(picture.astype(np.uint8), directions[face].astype(np.float32), labels)
    found = light.shade(directions)
    assert np.abs(np.log(found / found[0]) - np.log(truth / truth[0])).max() < 0.15


def test_corners_are_darker_than_open_ground():
    gbuffer = scenes.guides().guides(0).gbuffer
    free = shading.corners(gbuffer)
    assert free.min() >= shading.DARKEST_CORNER and free.max() == 1
    assert (free[gbuffer.object_id == 0] == 1).all()
    ground, x, z = gbuffer.object_id == 1, gbuffer.position[..., 0], gbuffer.position[..., 2]
    by_the_house = ground & (np.abs(x + 3) < 1.4) & (np.abs(z + 0.35) < 0.15)
    out_in_front = ground & (z > 1.5)
    assert free[by_the_house].mean() < free[out_in_front].mean() - 0.1
