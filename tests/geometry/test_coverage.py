"""Pictures taken apart into surfaces and put together, and texture for what no view shows."""

from __future__ import annotations

import numpy as np

from geometry.coverage import Coverage
from geometry.guides import GuideSource
from geometry.infill import textured
from tests.geometry.blockout_scenes import WH, looking_from, path, street, street_guides, wall
from tests.geometry.painted_scenes import PAINTS, true_picture


def test_a_pure_picture_has_one_surface_a_pixel_and_composes_to_what_it_was():
    shot = street_guides(2)
    picture = true_picture(shot, 0, plain=True)
    view = Coverage(shot.sight(0))
    pure = view.pure(picture)
    assert (np.abs(pure - PAINTS[view.object_id]).max(-1) < 1.5).mean() > 0.999
    assert np.abs(view.composed(pure).astype(float) - picture).mean() < 0.1
    assert (view.composed(pure) != np.rint(pure)).any(-1).sum() > 300  # silhouettes were put back


def test_a_thing_thinner_than_two_pixels_is_unmixed():
    """A dark post that no pixel shows alone."""
    shot = GuideSource(street, path(1, (48, 36)), keep=2)
    view = Coverage(shot.sight(0))
    picture = true_picture(shot, 0, plain=True)
    post = view.object_id == 4
    assert post.any()
    mixed, pure = (np.abs(p[post].astype(float) - PAINTS[4]).mean() for p in (picture, view.pure(picture)))
    assert mixed > 15 and pure < 6


def test_links_end_with_surfaces_and_are_weak_over_creases():
    shot = street_guides(2)
    view = Coverage(shot.sight(0))
    change = view.object_id[:, 1:] != view.object_id[:, :-1]
    across = view.links[:, :-1, 0]
    assert (across[change] == 0).all()
    assert (across[~change] == 1).mean() > 0.95
    assert ((across > 0) & (across < 1)).any()


def test_a_hole_takes_the_texture_of_its_likeness():
    """Stripes of 8 px with a hole: the shift is a whole number of stripes, and they go on through it."""
    view = Coverage(GuideSource(wall, looking_from((0, 0, 4)), keep=1).sight(0))
    x = np.arange(WH[0])
    stripes = np.repeat(np.repeat(120 + 60 * np.sin(x * 2 * np.pi / 8), 3).reshape(1, -1, 3), WH[1], 0)
    known = np.ones(WH[::-1], bool)
    known[40:70, 60:95] = False
    smooth = np.where(known[..., None], stripes, 120).astype(np.float32)
    found = textured(view, smooth, known)
    assert np.array_equal(found[known], smooth[known])
    assert np.abs(found - stripes)[~known].mean() < 12 < 30 < np.abs(smooth - stripes)[~known].mean()


def test_texture_does_not_come_from_another_object():
    shot = street_guides(2)
    view = Coverage(shot.sight(0))
    plain = PAINTS[view.object_id].astype(np.float32)
    known = np.ones(view.object_id.shape, bool)
    known[50:90, 20:130] = False
    assert np.abs(textured(view, plain, known) - plain).max() < 0.5
