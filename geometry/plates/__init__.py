"""2.5D plates: a still taken apart by depth, and layers put together again for a moving camera."""

from numba import config

# Loops on several threads run on OpenMP: other libraries bring a TBB of their own into the process, often one too old.
config.THREADING_LAYER_PRIORITY = ["omp", "workqueue", "tbb"]  # type: ignore[attr-defined]
