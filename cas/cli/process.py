"""Settings of the whole process: a command makes them for itself, a library must leave its host's settings alone."""

from __future__ import annotations

import ctypes
import os

# glibc, malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8

_ARENAS = 2
# Bytes. glibc refuses to take larger blocks than half of one heap of a pool (64 MiB) from its pools.
_LARGEST_POOLED = 32 * 1024 * 1024
_RETAINED = 128 * 1024 * 1024  # more than any pool ever has free at its end
_LARGE_BLOCK = 4 * 1024 * 1024


def keep_memory_together() -> None:
    """Make all threads allocate from two pools of memory, where the C library is glibc.

    By default glibc gives each thread of the S3 client a pool of its own, and each pool retains the memory of chunks
    that its thread once had: a restore of incompressible chunks then peaks at 330 to 470 MiB instead of 230, and is no
    faster (docs/performance.md). The two pools retain blocks of a chunk's size. By default glibc decides that by the
    sizes of the first blocks that it gets back, and in many a restore returns each decoder's to the system, chunk by
    chunk, only to take fresh memory for the next: 76,000 to 150,000 page faults instead of 41,000.
    """
    _set({_M_ARENA_MAX: _ARENAS, _M_MMAP_THRESHOLD: _LARGEST_POOLED, _M_TRIM_THRESHOLD: _RETAINED})


def leave_cores_alone() -> None:
    """Keep numpy from starting a thread of OpenBLAS for each core: we use numpy only to move bytes.

    The threads spin for a while: they take 70 ms of a restore's processor time on two cores. Call this before numpy is
    imported.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def return_large_blocks() -> None:
    """Return blocks of a frame's size to the operating system as soon as they are free, where the C library is glibc.

    By default glibc retains such blocks for reuse, and the holes between them: a derivation then peaks at 250 to 300
    MiB instead of 190, and takes a tenth less of the processor.
    """
    _set({_M_MMAP_THRESHOLD: _LARGE_BLOCK, _M_TRIM_THRESHOLD: _LARGE_BLOCK})


def _set(options: dict[int, int]) -> None:
    """Set options of the C library's allocator, where it is glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in options.items():
            mallopt(option, value)
