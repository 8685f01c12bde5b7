"""Settings of the whole process: what the C library's allocator does with the memory of chunks."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

# Blocks as a decoder takes them for each chunk, and gives them back, in the main thread and in another.
ROUNDS = 20
PAGE_FAULTS = f"""
import resource, threading
from cas.cli import process

def decode():
    for _ in range({ROUNDS}):
        frame, planes, plain = bytearray(9 << 20), bytearray(18 << 20), bytearray(9 << 20)
        del plain, planes, frame

process.keep_memory_together()
decode()
thread = threading.Thread(target=decode)
thread.start()
thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="the C library is not glibc")
def test_memory_of_chunks_is_used_again() -> None:
    ran = subprocess.run([sys.executable, "-c", PAGE_FAULTS], capture_output=True, text=True, check=True)
    pages_of_a_round = 36 * 256
    assert int(ran.stdout) < 0.5 * 2 * ROUNDS * pages_of_a_round
