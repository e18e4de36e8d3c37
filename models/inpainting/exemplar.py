"""The embedded inpainting backend: copies of what is round a hole, no weights, no GPU (``geometry.exemplar.picture``).

Prompts and seeds change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geometry.exemplar.picture import fill
from models.inpainting.window import checked

Array = np.ndarray


class ExemplarInpainter:
    """An ``Inpainter``."""

    def fill(self, picture: Array, mask: Array, prompt: str = "", seed: Sequence[int] = ()) -> Array:
        """See ``Inpainter``."""
        checked(picture, mask)
        out = picture.copy()
        out[mask > 0] = np.rint(fill(picture, ~(mask > 0), mask > 0))
        return out
