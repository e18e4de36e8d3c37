from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from geometry.exemplar.sheets import MOST_TEXELS, Points, children, parents, picture_sheets, sheets


def points(seed: int, count: int = 60) -> Points:
    rng = np.random.default_rng(seed)
    return Points(rng.integers(0, 5, count), rng.uniform(-9, 9, (count, 2)), rng.integers(-2, 2, count))


@given(st.integers(0, 10_000))
def test_charts_lie_apart_and_hold_their_points(seed: int):
    wanted = points(seed)
    levels = sheets(wanted, 5, 3)
    assert [sheet.level for sheet in levels] == list(range(3, int(wanted.level.min()) - 1, -1))
    for sheet in levels:
        here = wanted.level <= sheet.level
        rows, columns = np.floor(sheet.place(wanted.chart[here], wanted.at[here])).astype(int).T
        assert sheet.inside(wanted.chart[here], rows, columns).all()
        for k in np.unique(sheet.index[sheet.index >= 0]):
            grown = np.zeros_like(sheet.index, bool)
            r, c = np.nonzero(sheet.index == k)
            grown[r.min() - 3 : r.max() + 4, c.min() - 3 : c.max() + 4] = True
            assert set(np.unique(sheet.index[grown])) <= {-1, k}


@given(st.integers(0, 10_000))
def test_children_are_what_parents_cover(seed: int):
    levels = sheets(points(seed), 5, 3)
    for coarse, fine in pairwise(levels):
        rows, columns = np.nonzero(fine.index >= 0)
        up, across = parents(fine, coarse, rows, columns)
        chart = fine.index[rows, columns]
        assert coarse.inside(chart, up, across).all()
        odd = (np.stack([rows, columns], 1) - fine.shift[chart]) & 1
        flat = children(coarse, fine, up * coarse.index.shape[1] + across, odd[:, 0], odd[:, 1])
        assert np.array_equal(flat, rows * fine.index.shape[1] + columns)


def test_a_texel_covers_the_same_place_in_every_view():
    zero = np.zeros(1, int)
    one, two = (sheets(Points(zero, np.array([at]), zero), 1, 0)[0] for at in ((0.2, 0.2), (7.2, 3.2)))
    place = np.array([[5.5, 2.5]])
    assert np.array_equal(one.place(zero, place) % 1, two.place(zero, place) % 1)


def test_a_plane_without_end_loses_its_finest_levels():
    far = Points(np.zeros(2, int), np.array([[0.0, 0.0], [1e4, 1e4]]), np.array([-1, -1]))
    levels = sheets(far, 1, 8)
    assert levels[-1].level > -1 and levels[-1].index.size <= MOST_TEXELS
    assert sheets(far, 1, -1) == []


def test_a_picture_is_one_chart():
    levels = picture_sheets((10, 7), 2)
    assert [int((sheet.index == 0).sum()) for sheet in levels] == [3 * 2, 5 * 4, 10 * 7]
