"""What the cameras were solved from stands still: a thing full of such points is no mover, whatever flow says.

Behind glass and in mirrors depth is wrong, so that flow seems to contradict it; the points followed there do not.
"""

from __future__ import annotations

import numpy as np

from geometry import rigid
from geometry.scene import SparsePoints
from geometry.trajectory import CameraPath

Array = np.ndarray
MOST_ERROR_PX = 0.5
FEWEST_FRAMES = 8  # in which a point was followed
STANDING = 0.5  # of the points to the area that the still world has
FEWEST = 40  # points, over all frames, for a thing to be judged


class StillPoints:
    """Counts, label by label, points that were followed in the frame itself."""

    def __init__(self, points: SparsePoints, cameras: CameraPath) -> None:
        good = (points.error_px < MOST_ERROR_PX) & (points.track_length >= FEWEST_FRAMES)
        seen = np.zeros((len(good), 2), np.int64) if points.seen is None else points.seen
        self._xyz, self._seen, self._cameras = points.xyz[good], seen[good], cameras
        self._is_known = points.seen is not None
        self._counts: dict[int, Array] = {}  # points and pixels of each label

    def add(self, frame: int, labels: Array) -> None:
        """``labels`` (H, W) of the working raster."""
        if not self._is_known:
            return
        here = (self._seen[:, 0] <= frame) & (frame <= self._seen[:, 1])
        local = rigid.transform(self._cameras.pose(frame), self._xyz[here])
        px = self._cameras.camera(frame).px_from_cam(local[local[:, 2] > 0])
        h, w = labels.shape
        px = px[((px >= 0) & (px < (w, h))).all(1)].astype(int)
        for table, column in ((labels[px[:, 1], px[:, 0]], 0), (labels, 1)):
            for label, count in zip(*np.unique(table, return_counts=True), strict=True):
                self._counts.setdefault(int(label), np.zeros(2))[column] += count

    def standing(self) -> list[int]:
        """Labels that have about as many such points to their area as what has no label."""
        points, pixels = self._counts.get(0, np.zeros(2))
        if points == 0:
            return []
        return [
            label for label, (own, area) in self._counts.items()
            if label and own >= FEWEST and own / area > STANDING * points / pixels
        ]  # fmt: skip
