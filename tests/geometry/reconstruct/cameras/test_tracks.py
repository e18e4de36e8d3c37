"""Tracks stay on their points: compared with the exact cameras and depth of a rendered clip."""

from __future__ import annotations

import numpy as np
import pytest

from geometry import rigid
from geometry.reconstruct.cameras.tracks import Tracks, TrackSettings, track_clip, working_wh


@pytest.fixture(scope="module")
def tracks(arc_clip) -> Tracks:
    return track_clip(arc_clip, settings=TrackSettings(points=600))


def test_working_raster_is_at_most_960_on_the_long_side():
    assert working_wh((1080, 1920)) == (960, 540)
    assert working_wh((1920, 1080)) == (540, 960)
    assert working_wh((480, 832)) == (832, 480)


def test_tracks_do_not_creep_off_their_points(tracks, arc_clip):
    room = arc_clip.room
    first, last = 100, 112
    _, start, end = tracks.common(first, last)
    assert len(start) > 100
    depth = room.depth(first)[start[:, 1].astype(int), start[:, 0].astype(int)]
    world = rigid.transform(rigid.inverse(room.camera_from_world[0]), room.camera.rays_from_px(start) * depth[:, None])
    truth = room.camera.px_from_cam(rigid.transform(room.camera_from_world[12], world))
    error = np.linalg.norm(truth - end, axis=1)
    assert np.median(error) < 0.08
    assert np.percentile(error, 90) < 0.5


def test_points_sit_on_corners_and_not_on_edges():
    picture = np.full((96, 160, 3), 60, np.uint8)
    picture[:, 80:] = 180  # one long edge,
    picture[40:56, 30:46] = 220  # one square
    clip = Still(picture)
    _, xy = track_clip(clip, settings=TrackSettings(points=60)).at(0)
    assert len(xy) >= 3
    assert (np.abs(xy[:, 0] - 38) < 16).all() and (np.abs(xy[:, 1] - 48) < 16).all()


class Still:
    hw, numbers = (96, 160), range(2)

    def __init__(self, picture):
        self.picture = picture

    def display(self, number, wh=None):
        return self.picture


def test_points_are_spread_over_the_picture(tracks):
    _, xy = tracks.at(105)
    cells = np.unique((xy // 64).astype(int), axis=0)
    assert len(cells) >= 0.8 * 5 * 3


def test_frames_are_source_numbers_and_ids_are_unique_within_a_frame(tracks):
    assert tracks.frames == tuple(range(100, 118))
    for frame in tracks.frames:
        ids, _ = tracks.at(frame)
        assert len(np.unique(ids)) == len(ids)


def test_the_same_clip_gives_the_same_tracks(tracks, arc_clip):
    again = track_clip(arc_clip, settings=TrackSettings(points=600))
    np.testing.assert_array_equal(again.xy, tracks.xy)


def test_common_pairs_up_by_id():
    positions = np.array([[1, 1], [2, 2], [3, 3], [4, 4.0]])
    tracks = Tracks(np.array([0, 0, 1, 1]), np.array([4, 7, 7, 9]), positions, (0, 1), (8, 8))
    ids, a, b = tracks.common(0, 1)
    assert ids.tolist() == [7]
    assert a.tolist() == [[2, 2]] and b.tolist() == [[3, 3]]
    assert tracks.lengths().tolist() == [0, 0, 0, 0, 1, 0, 0, 2, 0, 1]


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="track: expected shape"):
        Tracks(np.zeros(2, int), np.zeros(3, int), np.zeros((2, 2)), (0,), (8, 8))
