"""Labels full of points that cameras were solved from."""

import numpy as np
import pytest

from geometry.camera import Camera
from geometry.reconstruct.motion.still_points import StillPoints
from geometry.scene import SparsePoints
from geometry.trajectory import CameraPath

CAMERA = Camera(100.0, 100.0, 50.0, 30.0, (100, 60))
PATH = CameraPath(tuple(range(10)), (CAMERA,) * 10, np.repeat(np.eye(4)[None], 10, 0))
LEFT, MIDDLE = 1, 2


def points(*, error_px: float = 0.1, frames: int = 10, known: bool = True) -> SparsePoints:
    """One in every 4 x 4 px, but for columns 40 to 60; all seen from frame 0 to 9."""
    x, y = np.meshgrid(np.arange(2.0, 100, 4), np.arange(2.0, 60, 4))
    keep = (x < 40) | (x > 60)
    xyz = np.stack([(x[keep] - 50) / 100, (y[keep] - 30) / 100, np.ones(keep.sum())], -1) * 5
    seen = np.tile([0, 9], (len(xyz), 1)) if known else None
    return SparsePoints(xyz, np.full(len(xyz), error_px), np.full(len(xyz), frames), seen)


def standing(by: SparsePoints) -> list[int]:
    labels = np.zeros((60, 100), np.uint16)
    labels[10:40, 5:30], labels[10:40, 42:58] = LEFT, MIDDLE
    still = StillPoints(by, PATH)
    for frame in PATH.frames:
        still.add(frame, labels)
    return still.standing()


def test_a_label_full_of_points_stands_and_one_without_does_not() -> None:
    assert standing(points()) == [LEFT]


@pytest.mark.parametrize("doubtful", [{"error_px": 0.8}, {"frames": 5}, {"known": False}])
def test_points_that_prove_nothing_are_not_asked(doubtful: dict) -> None:
    assert standing(points(**doubtful)) == []


def test_a_point_counts_only_in_frames_that_saw_it() -> None:
    by = points()
    by.seen[:] = (0, 0)  # type: ignore[index]
    labels = np.full((60, 100), LEFT, np.uint16)
    labels[:, 50:] = 0
    still = StillPoints(by, PATH)
    for frame in range(1, 10):
        still.add(frame, labels)
    assert still.standing() == []
