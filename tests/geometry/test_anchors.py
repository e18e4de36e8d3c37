from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from geometry import anchors, rigid
from geometry.anchors import carry, carry_many, painting_order, select
from geometry.camera import Camera
from geometry.coverage import Coverage
from geometry.guides import GuideSource
from geometry.render.base import Instance
from geometry.survey import Survey
from geometry.trajectory import CameraPath
from geometry.warp import RIM_PX, hidden_px
from tests.geometry.blockout_scenes import WH, block, looking_from, path, street, wall
from tests.geometry.painted_scenes import PAINTS, true_picture
from tests.geometry.render.shapes_for_render import quad


def corridor(frame: float) -> tuple[Instance, ...]:
    """A wall with a niche, whose floor only who stands before it sees."""
    return (
        Instance((quad((0, 0, 0), (30, 0, 0), (0, 3, 0)),), np.eye(4), 1),
        Instance((block(0.4, 6, 4, -3, 0, 2), block(0.4, 6, 4, 3, 0, 2)), np.eye(4), 2),
    )


@cache
def passing() -> GuideSource:
    """Past the niche, looking straight at the wall: at both ends a screen hides its inside."""
    eyes = [(x, 0, 9.0) for x in np.linspace(-14, 14, 29)]
    lens = Camera(160, 160, 80, 60, WH)
    poses = np.stack([rigid.look_at(eye, (eye[0], 0, 0)) for eye in eyes])
    return GuideSource(corridor, CameraPath(tuple(range(29)), (lens,) * 29, poses), keep=8)


def test_twice_as_far_is_half_as_good_and_a_slant_counts_by_its_angle():
    survey = Survey(GuideSource(wall, looking_from((0, 0, 4), (0, 0, 8), (0, 20, 2)), keep=3))
    assert np.allclose(survey.quality(0, 0), 1)
    assert np.allclose(survey.quality(0, 1), 0.5, atol=0.03)  # and a little more at the sides, seen less aslant
    assert np.allclose(survey.quality(1, 0)[survey.quality(1, 0) > 0], 1)
    assert (survey.quality(1, 0) > 0).mean() == pytest.approx(0.25, abs=0.03)
    assert 0 < survey.quality(0, 2).max() < 0.15


def test_the_frames_that_show_what_the_ends_do_not_are_chosen():
    few = select(passing(), range(29), at_most=3)
    assert few.frames[0] == 0 and few.frames[-1] == 28 and len(few.frames) == 3
    assert 10 <= few.frames[1] <= 18
    enough = select(passing(), range(29))
    assert 3 <= len(enough.frames) <= 9
    assert enough.seen.min() > 0.95 > select(passing(), range(29), at_most=2).seen.min()
    assert enough.seen_well.mean() > 0.95
    assert enough.frames == select(passing(), range(29)).frames


def test_a_still_camera_needs_its_ends_only():
    still = GuideSource(wall, looking_from(*[(0, 0, 4)] * 6), keep=6)
    found = select(still, range(6))
    assert found.frames == (0, 5)
    assert (found.seen == 1).all() and (found.seen_well == 1).all()
    assert select(still, [3]).frames == (3,)


def test_locked_frames_stay_and_arcs_are_no_longer_than_asked():
    found = select(passing(), range(29), locked=(3, 20), at_most=2)
    assert found.frames == (0, 3, 20, 28)
    assert select(passing(), range(29), at_most=2, longest_arc=10).frames == (0, 9, 19, 28)


def test_the_worst_frame_is_the_one_that_is_least_seen():
    ends = select(passing(), range(29), at_most=2)
    assert ends.looked_at[int(ends.seen.argmin())] == ends.worst()[0]
    assert 8 <= ends.worst()[0] <= 20
    assert len(ends.worst(3)) == 3


def test_painting_starts_where_it_is_told_and_goes_on_next_to_it():
    assert painting_order(passing(), [16, 19, 22, 25, 28], first=28) == (28, 25, 22, 19, 16)
    assert painting_order(passing(), [20, 22, 24, 26, 28])[0] == 24
    with pytest.raises(ValueError, match="first: expected one of"):
        painting_order(passing(), [0, 28], first=5)


def test_bad_choices_are_named():
    with pytest.raises(ValueError, match=r"locked: expected frames of 0\.\.5, got \[9\]"):
        select(passing(), range(6), locked=[9])
    with pytest.raises(ValueError, match="frames: expected at least one"):
        select(passing(), [])
    with pytest.raises(ValueError, match="pictures: expected at least one"):
        carry_many({}, passing(), 0)


# --- carrying


@cache
def shot() -> GuideSource:
    return GuideSource(street, path(9, WH, step=0.2), keep=9)


def test_a_view_carries_itself_exactly():
    picture = true_picture(shot(), 2)
    found = carry(picture, shot(), 2, 2)
    assert found.known.all()
    view = Coverage(shot().sight(2))
    assert np.abs(found.picture - view.pure(picture)).max() <= 1


def test_what_is_carried_is_what_is_there_and_hidden_ground_is_not_known():
    found = carry(true_picture(shot(), 0), shot(), 0, 6)
    visible = shot().flow(6, 0).visible
    way = shot().flow(6, 0)
    target = np.where(visible[..., None], way.target_px, 0)
    column, row = np.moveaxis(np.clip(target.astype(int), 0, np.array(visible.shape[::-1]) - 1), -1, 0)
    is_rim = hidden_px(Coverage(shot().sight(0)))[row, column] <= RIM_PX + 1
    assert (found.known == visible)[~is_rim].mean() > 0.998
    assert not found.known[~visible].any()
    assert found.known[visible & is_rim].any()  # of what still lies beside what hides it
    pure = Coverage(shot().sight(6)).pure(true_picture(shot(), 6))
    error = np.abs(found.picture[visible].astype(float) - pure[visible])
    assert error.mean() < 3
    assert 0.03 < 1 - found.known.mean() < 0.5


def test_no_outline_of_what_hid_a_surface_stays_behind_on_it():
    """A brush that reached over silhouettes by a pixel."""
    picture = np.full_like(true_picture(shot(), 0), 60)
    picture[hidden_px(Coverage(shot().sight(0))) == 0] = (255, 0, 255)
    found = carry(picture, shot(), 0, 6)
    moved_on = hidden_px(Coverage(shot().sight(6))) > RIM_PX + 1
    assert (found.known * moved_on).sum() > 0.5 * moved_on.size
    assert np.abs(found.picture[(found.known > 0) & moved_on].astype(int) - 60).max() <= 8



def test_colours_do_not_cross_an_object():
    painted = {frame: true_picture(shot(), frame, plain=True) for frame in (0, 8)}
    found = carry_many(painted, shot(), 4)
    owner = np.append(shot().sight(4).surface.topology.object_id, 0)[shot().sight(4).face]
    off = np.abs(found.picture.astype(float) - PAINTS[owner]).max(-1)
    assert (off[found.known > 0] <= 1.5).mean() > 0.998


def test_the_better_view_counts_more():
    """A wall seen from near and, in other colours, from far."""
    source = GuideSource(wall, looking_from((0, 0, 4), (0, 0, 4.4), (0, 0, 40)), keep=3)
    near, far = (np.full((120, 160, 3), code, np.uint8) for code in (200, 100))
    found = carry_many({1: near, 2: far}, source, 0)
    assert found.picture[60, 80, 0] > 195
    assert found.quality[60, 80] == pytest.approx((4 / 4.4) ** 2, abs=0.02)


def test_of_many_anchors_those_that_show_most_are_carried(monkeypatch: pytest.MonkeyPatch):
    """Beside the niche stand those that see into it; the others add nothing."""
    monkeypatch.setattr(anchors, "CARRIED", 2)
    painted = {frame: np.full((120, 160, 3), 8 * frame, np.uint8) for frame in (0, 2, 12, 15, 27)}
    found = carry_many(painted, passing(), 14)
    near = carry_many({frame: painted[frame] for frame in (12, 15)}, passing(), 14)
    assert found.known.mean() > 0.9
    assert np.array_equal(found.picture, near.picture) and np.array_equal(found.known, near.known)


def test_minified_pictures_do_not_alias():
    """Stripes of one pixel, seen from four times as far, are grey."""
    source = GuideSource(wall, looking_from((0, 0, 4), (0, 0, 16)), keep=2)
    stripes = np.zeros((120, 160, 3), np.uint8)
    stripes[:, ::2] = 255
    found = carry(stripes, source, 0, 1)
    inside = found.picture[55:65, 70:90].astype(float)
    assert np.abs(inside - 127.5).max() < 12


def test_enlarged_pictures_stay_sharp():
    source = GuideSource(wall, looking_from((0, 0, 8), (0, 0, 4)), keep=2)
    edge = np.zeros((120, 160, 3), np.uint8)
    edge[:, 80:] = 255
    row = carry(edge, source, 0, 1).picture[60, :, 0].astype(int)
    assert row[:76].max() < 20 and row[84:].min() > 235
