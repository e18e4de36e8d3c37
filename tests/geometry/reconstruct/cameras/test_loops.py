"""A camera that comes back: its points are found again, in the right place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from geometry import rigid
from geometry.reconstruct.cameras.loops import with_loops
from geometry.reconstruct.cameras.tracks import TrackSettings, track_clip


@pytest.fixture(scope="module")
def broken(arc_clip):
    """Tracks of two parts of one clip that know nothing of each other."""
    first, second = (track_clip(arc_clip, frames=range(*part), settings=TrackSettings(points=600))
                     for part in ((100, 104), (107, 111)))
    ids = second.track + first.track.max() + 1
    return replace(first, frame=np.r_[first.frame, second.frame], track=np.r_[first.track, ids],
                   xy=np.r_[first.xy, second.xy], frames=(*first.frames, *second.frames))


def test_points_are_found_again_where_they_are(broken, arc_clip):
    keys = [100, 103, 107, 110]
    assert len(broken.common(103, 107)[0]) == 0
    closed = with_loops(arc_clip, broken, keys)
    ids, start, end = closed.common(103, 107)
    assert len(ids) > 60
    room = arc_clip.room
    depth = room.depth(103)[start[:, 1].astype(int), start[:, 0].astype(int)]
    world = rigid.transform(rigid.inverse(room.camera_from_world[3]), room.camera.rays_from_px(start) * depth[:, None])
    truth = room.camera.px_from_cam(rigid.transform(room.camera_from_world[7], world))
    error = np.linalg.norm(truth - end, axis=1)
    assert np.median(error) < 0.15
    assert np.percentile(error, 85) < 1.0


def test_observations_stay_sorted_and_unique(broken, arc_clip):
    closed = with_loops(arc_clip, broken, [100, 103, 107, 110])
    key = closed.frame * 100_000 + closed.track
    assert (np.diff(key) > 0).all()


def test_nothing_is_added_where_tracks_hold_everywhere(arc_clip):
    tracks = track_clip(arc_clip, frames=range(100, 104), settings=TrackSettings(points=600))
    assert with_loops(arc_clip, tracks, [100, 102, 103]) is tracks
