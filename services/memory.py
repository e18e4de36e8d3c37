"""How this process gets memory from the system and gives it back."""

from __future__ import annotations

import ctypes

# mallopt(3); glibc's <malloc.h>
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
LARGEST_BYTES = 32 * 2**20  # a block that comes from the heap; the largest that glibc allows
KEPT_BYTES = 64 * 2**20


def keep_freed_memory() -> None:
    """Messages of a megabyte come and go all the time: with glibc's own limits each is mapped, cleared by the kernel
    and unmapped anew, which costs a server more than receiving it. Nothing happens with other C libraries."""
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        library.mallopt(_MMAP_THRESHOLD, LARGEST_BYTES)
        library.mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
        library.mallopt(_TOP_PAD, KEPT_BYTES // 8)
