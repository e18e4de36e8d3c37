"""Numpy memory that Dr.Jit's LLVM kernels can take as it is.

Dr.Jit maps numpy arrays without a copy and writes into the kernel whether each one is aligned: without care, the same
kernel is compiled anew (a second) whenever the allocator happens to answer differently.
"""

from __future__ import annotations

import numpy as np

ALIGNMENT_BYTES = 64


def aligned(values: object, dtype: type) -> np.ndarray:
    """A flat, aligned copy of ``values``."""
    source: np.ndarray = np.asarray(values, dtype).ravel()
    memory = np.empty(source.nbytes + ALIGNMENT_BYTES, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT_BYTES
    out: np.ndarray = memory[start : start + source.nbytes].view(dtype)
    out[:] = source
    return out
