"""Whether a camera was made for a picture of this shape."""

from __future__ import annotations

SLACK = 0.005  # 854 x 480 is a scaled 1920 x 1080


def expect_aspect(aspect: float, wh: tuple[int, int]) -> None:
    """Raise ``ValueError`` when ``aspect`` (width / height) is not that of a picture of ``wh``."""
    if abs(aspect * wh[1] / wh[0] - 1) > SLACK:
        raise ValueError(f"aspect: expected {wh[0] / wh[1]:.3f} (a {wh[0]} x {wh[1]} picture), got {aspect:.3f}")
