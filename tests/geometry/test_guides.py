from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from geometry.flow import flow
from tests.geometry.blockout_scenes import path, street, street_guides
from tests.geometry.render.shapes_for_render import instance, quad


def test_a_frame_has_all_its_guides():
    guides = street_guides().guides(2)
    assert guides.frame == 2
    assert set(np.unique(guides.gbuffer.object_id)) == {0, 1, 2, 3, 4, 5}
    assert np.array_equal(guides.albedo_id > 0, guides.gbuffer.object_id > 0)
    # Silhouettes of objects lie where ids change.
    change = guides.gbuffer.object_id[:, 1:] != guides.gbuffer.object_id[:, :-1]
    near = np.maximum(guides.lines.drawing[:, 1:], guides.lines.drawing[:, :-1])
    assert (near[change] > 0.2).mean() > 0.98
    assert (guides.soft_edges[:, 1:][change] > 0.2).mean() > 0.95
    assert guides.soft_edges.mean() < 0.25


def test_flow_is_that_of_the_frames_sights():
    guides = street_guides()
    found, expected = guides.flow(1, 3), flow(guides.sight(1), guides.sight(3))
    assert np.array_equal(found.dx_dy, expected.dx_dy)
    assert np.array_equal(found.visible, expected.visible)


def test_threads_and_order_do_not_matter():
    forward = [street_guides().guides(i).soft_edges for i in range(4)]
    source = street_guides()
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(lambda i: source.guides(i).soft_edges, reversed(range(4))))[::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forward, threaded, strict=True))


def test_bad_input_is_named():
    from geometry.guides import GuideSource

    with pytest.raises(KeyError, match="frame 99 has no camera"):
        street_guides().guides(99)
    grows = GuideSource(lambda f: street(f) if f < 1 else (instance(quad((0, 0, 0), (1, 0, 0), (0, 1, 0))),), path(2))
    with pytest.raises(ValueError, match="vertices at every time"):
        grows.guides(1)


@pytest.mark.slow
def test_46_frames_at_720_by_480_take_5_seconds_on_two_cores():
    """Guides, and flow to both neighbours and to both anchors."""
    guides = street_guides(46, (720, 480))
    guides.guides(0), guides.flow(0, 1)  # compiles
    start = time.process_time()
    for i in range(46):
        guides.guides(i)
        for other in (max(i - 1, 0), min(i + 1, 45), 0, 45):
            guides.flow(i, other)
    assert time.process_time() - start < 2 * 5
