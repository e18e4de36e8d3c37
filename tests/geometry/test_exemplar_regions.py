from __future__ import annotations

import cv2
import numpy as np

from geometry.exemplar.regions import Look, Place, assigned, looks, segmented


def landscape() -> np.ndarray:
    """Sky that fades, grass with blades, a red wall at the left."""
    rng = np.random.default_rng(0)
    picture = np.zeros((120, 160, 3), np.float32)
    picture[:70] = np.linspace((90, 140, 230), (170, 200, 240), 70)[:, None]
    picture[70:] = np.array((70, 120, 50)) + 25 * rng.standard_normal((50, 160, 1))
    picture[40:100, 10:60] = np.array((180, 60, 50)) + 8 * rng.standard_normal((60, 50, 1))
    return np.clip(picture, 0, 255).astype(np.uint8)


def test_regions_follow_what_is_shown():
    regions = segmented(landscape())
    assert regions.shape == (120, 160)
    for part in (np.s_[50:90, 15:55], np.s_[85:115, 70:150]):
        count = np.bincount(regions[part].ravel())
        assert count.argmax() > 0 and count.max() / count.sum() > 0.7
    assert not set(np.unique(regions[50:90, 20:50])) & set(np.unique(regions[5:30])) - {0}


def test_sky_ground_and_wall_find_their_own():
    picture = landscape()
    regions = segmented(picture)
    surfaces = {
        0: Look(Place(0.5, 0, 0.5, 0.4), None),
        7: Look(Place(0.55, 0.6, 1, 0.35), None),
        8: Look(Place(0.25, 0.35, 0.8, 0.15), None),
    }
    chosen = assigned(surfaces, [0], looks(picture, regions))
    means = {k: picture[np.isin(regions, group)].mean(0) for k, group in chosen.items()}
    assert means[0].argmax() == 2 and means[7].argmax() == 1 and means[8].argmax() == 0
    assert (np.isin(regions, chosen[0])[:70, 70:]).mean() > 0.8  # all of the sky, though its colour fades


def test_what_is_known_of_a_surface_outweighs_its_place():
    red = Look(Place(0.2, 0.4, 0.6, 0.3), np.array((0.5, 0.6, 0.4)))
    green = Look(Place(0.8, 0.4, 0.6, 0.3), np.array((0.5, -0.6, 0.4)))
    surface = Look(Place(0.8, 0.4, 0.6, 0.3), np.array((0.45, 0.5, 0.4)))
    assert assigned({3: surface}, [], {1: red, 2: green}) == {3: (1,)}


def test_one_colour_all_over_is_one_region():
    plain = np.full((40, 60, 3), 120, np.uint8)
    regions = segmented(plain)
    assert set(np.unique(regions)) == {1}
    many = {k: Look(Place(0.5, 0.4, 0.6, 0.1), None) for k in range(5)}
    assert set(assigned(many, [0], looks(plain, regions)).values()) == {(1,)}


def test_threads_do_not_matter():
    before = cv2.getNumThreads()
    try:
        found = []
        for threads in (1, 4):
            cv2.setNumThreads(threads)
            found.append(segmented(landscape()))
    finally:
        cv2.setNumThreads(before)
    assert np.array_equal(*found)


def test_a_band_along_a_border_is_no_region():
    """Where a smooth sky meets rough stone, statistics of texture see a bit of both."""
    rng = np.random.default_rng(5)
    picture = np.zeros((128, 192, 3), np.float32)
    picture[:] = (120, 160, 230)
    below = np.arange(128)[:, None] > 60 + 25 * np.cos(np.arange(192) / 30)
    stones = np.kron(rng.standard_normal((43, 65)), np.ones((3, 3)))[:128, :192]
    picture[below] = (110 + 25 * stones[below])[:, None] * (1, 0.85, 0.6)
    regions = segmented(np.clip(picture, 0, 255).astype(np.uint8))
    assert len(np.unique(regions[regions > 0])) >= 2
    for region in np.unique(regions[regions > 0]):
        inside = regions == region
        assert max(below[inside].mean(), 1 - below[inside].mean()) > 0.95, region


def test_a_sky_seen_through_a_hole_is_nobodys_and_does_not_show_its_outline():
    """Two skies of like colours: the background takes the one above alone, and no wall takes the one in the hole."""
    above = Look(Place(0.5, 0, 0.2, 0.3), np.array((0.7, 0, -0.25)), 0.01, frozenset({3}))
    hole = Look(Place(0.4, 0.3, 0.4, 0.1), np.array((0.75, 0, -0.15)), 0.01, frozenset({3}))
    wall = Look(Place(0.5, 0.2, 1, 0.6), np.array((0.6, 0.05, 0.15)), 0.15, frozenset({1, 2}))
    sky, tower = Look(Place(0.5, 0, 0.3, 0.3), None), Look(Place(0.4, 0.3, 0.4, 0.1), None)
    assert assigned({0: sky, 5: tower}, [0], {1: above, 2: hole, 3: wall}) == {0: (1,), 5: (3,)}
    touching = {1: above, 2: Look(hole.place, hole.colour, 0.01, frozenset({1})), 3: wall}
    touching[1] = Look(above.place, above.colour, 0.01, frozenset({2, 3}))
    assert assigned({0: sky}, [0], touching) == {0: (1, 2)}


def test_what_is_known_goes_on_as_it_was_however_often_its_region_is_used():
    """Three surfaces that were made from one region, now seen elsewhere in the picture."""
    stone = Look(Place(0.1, 0.1, 0.3, 0.05), np.array((0.6, 0.05, 0.15)))
    grass = Look(Place(0.5, 0.6, 0.9, 0.4), np.array((0.4, -0.1, 0.2)))
    walls = {k: Look(Place(0.5, 0.6, 0.9, 0.4), np.array((0.58, 0.05, 0.14))) for k in (4, 5, 6)}
    assert assigned(walls, [], {1: stone, 2: grass}) == {4: (1,), 5: (1,), 6: (1,)}


def test_looks_know_their_neighbours():
    regions = np.repeat(np.repeat(np.array([[1, 1, 2], [3, 3, 3]], np.int32), 8, 0), 8, 1)
    found = looks(np.full((*regions.shape, 3), 90, np.uint8), regions)
    assert [found[k].beside for k in (1, 2, 3)] == [{2, 3}, {1, 3}, {1, 2}]
