"""One way to say that an array has the wrong shape."""

from __future__ import annotations

import numpy as np


def expect_shape(name: str, array: np.ndarray, shape: tuple[int | None, ...]) -> None:
    """Raise ``ValueError`` unless ``array`` has ``shape`` (``None`` matches any length)."""
    got = np.shape(array)
    if len(got) != len(shape) or any(
        want is not None and want != have for want, have in zip(shape, got, strict=True)
    ):
        wanted = "(" + ", ".join("*" if n is None else str(n) for n in shape) + ")"
        raise ValueError(f"{name}: expected shape {wanted}, got {got}")
