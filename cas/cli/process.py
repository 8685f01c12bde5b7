"""Settings of the whole process: a command makes them for itself, a library must leave its host's settings alone."""

from __future__ import annotations

import ctypes
import os

_M_ARENA_MAX = -8  # glibc, malloc.h
_M_MMAP_THRESHOLD = -3  # glibc, malloc.h
_ARENAS = 2
_LARGE_BLOCK = 4 * 1024 * 1024  # bytes


def keep_memory_together() -> None:
    """Make all threads allocate from two pools of memory, where the C library is glibc.

    By default glibc gives each thread of the S3 client a pool of its own, and each pool retains the memory of chunks
    that its thread once had: a restore of incompressible chunks then peaks at 330 to 470 MiB instead of 230, and is no
    faster (docs/performance.md).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)


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
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)
