from __future__ import annotations

import numpy as np

from geometry.exemplar.charts import FACINGS, PER_LABEL, SCREEN, charted, charted_again, drawn, sampled
from geometry.exemplar.sheets import Points, sheets
from geometry.scene import GBuffer
from tests.geometry import exemplar_scenes as scenes


def wall(normal: tuple[float, float, float], right: tuple[float, float, float], step: float) -> GBuffer:
    """8 x 8 pixels of a plane whose pixel (row, column) lies at step * (column * right - row * up)."""
    rows, columns = np.indices((8, 8))
    up = np.cross(normal, right)
    position = step * (columns[..., None] * np.array(right) - rows[..., None] * up)
    ones = np.ones((8, 8))
    return GBuffer(
        ones.astype(np.float32), np.broadcast_to(normal, (8, 8, 3)).astype(np.float32), position.astype(np.float32),
        ones.astype(np.int32), np.zeros((8, 8, 2), np.float32),
    )


def test_axes_of_a_wall_are_right_and_down_as_it_is_looked_at():
    x, z = (1, 0, 0), (0, 0, -1)
    for normal, right in (((0, 0, 1), x), ((1, 0, 0), z), ((0, 1, 0), x), ((0, -1, 0), x)):
        charts = charted(wall(normal, right, 0.25), np.ones((8, 8), int))
        assert np.allclose(np.diff(charts.at[..., 0], axis=0), 0.25)
        assert np.allclose(np.diff(charts.at[..., 1], axis=1), 0.25)
        assert np.ptp(charts.at[..., 0], axis=1).max() < 1e-9
        assert (charts.level == -2).all()


def test_a_flat_face_is_one_chart_however_it_is_turned():
    for angle in np.radians(np.arange(0, 90, 2.5)):
        normal, right = (np.sin(angle), 0, np.cos(angle)), (np.cos(angle), 0, -np.sin(angle))
        noisy = wall(normal, right, 0.1)
        noise = np.random.default_rng(0).uniform(-1e-6, 1e-6, noisy.normal.shape).astype(np.float32)
        noisy = GBuffer(noisy.depth, noisy.normal + noise, noisy.position, noisy.object_id, noisy.uv)
        chart = charted(noisy, np.ones((8, 8), int)).chart
        assert len(np.unique(chart)) == 1 and PER_LABEL <= chart[0, 0] < PER_LABEL + FACINGS


def test_second_charts_show_where_two_are_faced_alike():
    for degrees, expected in ((0.0, 0.0), (22.5, 0.5), (45.0, 0.0)):  # charts face every 45 degrees
        angle = np.radians(degrees)
        gbuffer = wall((np.sin(angle), 0, np.cos(angle)), (np.cos(angle), 0, -np.sin(angle)), 0.1)
        charts, share = charted_again(gbuffer, np.ones((8, 8), int))
        assert np.allclose(share, expected, atol=0.02)
        assert (charts.chart != charted(gbuffer, np.ones((8, 8), int)).chart).all()


def test_the_sky_is_the_picture_itself():
    seen = scenes.seen(scenes.guides(), 0)
    sky = seen.labels == 0
    assert (seen.charts.chart[sky] == SCREEN).all() and (seen.charts.level[sky] == 0).all()
    rows, columns = np.nonzero(sky)
    assert np.array_equal(seen.charts.at[sky], np.stack([rows, columns], 1) + 0.5)


def test_what_is_drawn_on_charts_is_sampled_back():
    """A house and the ground; the rims, of which charts show no whole square, are left out."""
    picture = scenes.painted(0)
    seen = scenes.seen(scenes.guides(), 0)
    for object_id, least in ((2, 26), (1, 24)):
        mask = (seen.gbuffer.object_id == object_id) & seen.inner
        keys, index = np.unique(seen.charts.chart[mask], return_inverse=True)
        charts = np.full(mask.shape, -1)
        charts[mask] = index
        levels = sheets(Points(index, seen.charts.at[mask], seen.charts.level[mask]), len(keys), 3)
        shown = drawn(seen.charts, picture, mask, charts, levels)
        colours = sampled(seen.charts, mask, charts, levels, [s[..., :3] for s in shown])
        whole = sampled(seen.charts, mask, charts, levels, [np.repeat(s[..., 3:], 3, 2) for s in shown])[:, 0] > 0.99
        assert whole.mean() > 0.7
        error = (colours - picture[mask])[whole]
        assert 10 * np.log10(255**2 / (error**2).mean()) > least
