"""What a command asks of its own process, where a library must leave the host's settings alone."""

from __future__ import annotations

import ctypes
import os

_M_ARENA_MAX = -8  # glibc, malloc.h
_ARENAS = 2
_M_MMAP_THRESHOLD = -3
_LARGE = 4 * 1024 * 1024


def keep_memory_together() -> None:
    """Has all threads allocate from two pools of memory, where the C library is glibc.

    It would give each thread of the S3 client a pool of its own, each holding on to chunks it once had: a restore of
    incompressible chunks then peaks at 330 to 470 MiB instead of 230, and is no faster (docs/performance.md).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)


def leave_cores_alone() -> None:
    """Keeps numpy, which is only asked to move bytes here, from starting a thread of OpenBLAS for each core.

    They spin for a while: 70 ms of a restore's processor time on two cores. To be called before numpy is imported.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def return_large_blocks() -> None:
    """Has memory of a frame's size given back as soon as it is free, where the C library is glibc.

    It would keep such blocks for reuse, and the holes between them: a derivation then peaks at 250 to 300 MiB instead
    of 190, and takes a tenth less of the processor.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
