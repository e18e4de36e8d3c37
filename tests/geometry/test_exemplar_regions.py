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
