"""Where depth jumps, and what stands thin before what: asked of inverse depth, in which planes are linear in pixels.

A surface that runs into the distance changes steadily; a jump does not. All maps are (H, W) float32 of 1 / z.
"""

from __future__ import annotations

import cv2
import numpy as np

Array = np.ndarray
EDGE_PX = 2  # of 540 rows: over so many on either side a jump may be blurred
LEAST_JUMP, LEAST_SHARE = 0.004, 0.06  # of the range of inverse depth, and of its own value
STEADY = 2.0  # slopes beside a jump are less than it by this factor
MIXED = 0.1  # of a jump: a value so far from either end of it belongs to neither
SHARPENINGS = 2
LEAST_THIN, THIN_DEPTH = 0.02, 0.12  # of the range of inverse depth, and of what is behind: how far before it
FOOT = 0.08  # of that: what belongs to a thing that is so far before it elsewhere
THIN_SHARE = 0.03  # of the longer side: half the width of what is thin


def reach_px(hw: tuple[int, ...]) -> int:
    return max(round(EDGE_PX * hw[0] / 540), 1)


def jumps(inverse: Array) -> Array:
    """(H, W) bool: within a few pixels of a place where depth jumps, and does not merely slope."""
    r = reach_px(inverse.shape)
    found = _jumps_along_rows(inverse, r) | _jumps_along_rows(inverse.T, r).T
    return cv2.dilate(found.astype(np.uint8), np.ones((2 * r + 1, 2 * r + 1), np.uint8)) > 0


def _jumps_along_rows(inverse: Array, r: int) -> Array:
    # A slope goes on beyond the border, so that it is none of the jumps.
    p = np.pad(inverse.astype(np.float32), ((0, 0), (3 * r, 3 * r)), mode="reflect", reflect_type="odd")
    far_left, left, right, far_right = p[:, : -6 * r], p[:, 2 * r : -4 * r], p[:, 4 * r : -2 * r], p[:, 6 * r :]
    jump = np.abs(right - left)
    beside = np.minimum(np.abs(left - far_left), np.abs(far_right - right))
    least = np.maximum(LEAST_JUMP * np.ptp(inverse), LEAST_SHARE * np.maximum(left, right))
    return (jump > least) & (jump > STEADY * beside)


def sharpened(inverse: Array) -> Array:
    """What lies on the way of a jump, as blurred depth has it, belongs to one of its ends; else as it was."""
    r = reach_px(inverse.shape)
    box, out = np.ones((2 * r + 1, 2 * r + 1), np.uint8), inverse.astype(np.float32)
    for _ in range(SHARPENINGS):
        low, high = cv2.erode(out, box), cv2.dilate(out, box)
        way = high - low
        is_jump = jumps(out) & (way > np.maximum(LEAST_JUMP * np.ptp(out), LEAST_SHARE * high))
        is_mixed = is_jump & (np.minimum(out - low, high - out) > MIXED * way)
        out = np.where(is_mixed, np.where(out - low > high - out, high, low), out)
    return out


def behind_thin(inverse: Array) -> Array:
    """Inverse depth without what is thin and stands before something: a morphological opening. Planes stay."""
    radius = max(min(max(round(THIN_SHARE * max(inverse.shape)), 2), min(inverse.shape) - 1), 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    # Slopes go on beyond the border, or they would be worn off there.
    wide = np.pad(inverse.astype(np.float32), radius, mode="reflect", reflect_type="odd")
    return cv2.morphologyEx(wide, cv2.MORPH_OPEN, disc)[radius:-radius, radius:-radius]


def thin(inverse: Array) -> Array:
    """(H, W) bool: thin things that stand clearly before what is round them, such as posts and rails, down to where
    they stand on something."""
    behind = behind_thin(inverse)
    before = (inverse - behind) / np.maximum(LEAST_THIN * np.ptp(inverse), THIN_DEPTH * behind)
    parts = cv2.connectedComponents((before > FOOT).astype(np.uint8), connectivity=8)[1]
    clear = np.zeros(parts.max() + 1, bool)
    clear[parts[before > 1]] = True
    clear[0] = False
    return clear[parts]
