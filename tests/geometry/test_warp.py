"""Smoothing along surfaces against its plain definition."""

from __future__ import annotations

import numpy as np

from geometry.warp_kernels import smoothed

Array = np.ndarray
HW, DECAY = (7, 9), 0.6


def plainly(values: Array, links: Array) -> Array:
    """One channel: there and back along rows, then along columns."""
    for axis in (1, 0):
        lines = np.moveaxis(values.astype(float), axis, 0).copy()
        between = np.moveaxis(DECAY * links[..., 1 - axis], axis, 0)
        for k in range(1, len(lines)):
            lines[k] += between[k - 1] * (lines[k - 1] - lines[k])
        for k in range(len(lines) - 2, -1, -1):
            lines[k] += between[k] * (lines[k + 1] - lines[k])
        values = np.moveaxis(lines, 0, axis)
    return values


def test_known_colours_are_smoothed_as_far_as_surfaces_go_on():
    rng = np.random.default_rng(4)
    layers = rng.uniform(1, 200, (2, *HW, 4)).astype(np.float32)
    layers[..., 3] *= rng.random((2, *HW)) < 0.6
    links = rng.choice([0, 0.2, 1], (*HW, 2)).astype(np.float32)
    for layer, found in zip(layers, smoothed(layers, links, DECAY), strict=True):
        known = (layer[..., 3] > 0).astype(float)
        share = plainly(known, links)
        for c in range(3):
            expected = plainly(known * layer[..., c], links) / np.where(share > 0, share, 1)
            np.testing.assert_allclose(found[..., c], expected, rtol=1e-4)
        np.testing.assert_allclose(found[..., 3], plainly(layer[..., 3], links), rtol=1e-4, atol=1e-6)


def test_nothing_crosses_where_a_surface_ends():
    layer = np.zeros((1, *HW, 4), np.float32)
    layer[0, :, :4] = (200, 100, 50, 1)
    links = np.ones((*HW, 2), np.float32)
    links[:, 4, 0] = 0
    found = smoothed(layer, links, DECAY)[0]
    assert np.allclose(found[:, :5, :3], (200, 100, 50))  # column 4 was unknown
    assert not found[:, 5:].any()
