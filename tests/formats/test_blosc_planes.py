"""Blosc undoes zstd and planes in one call: with the right bytes, within bounds, in many threads, and without numpy."""

from __future__ import annotations

import random
import subprocess
import sys
import threading

import numpy as np
import pytest

from cas.formats import blosc_planes
from cas.formats.frame import Encoder, decode

WIDTHS = (2, 3, 4, 8, 255)
PLAIN = (np.random.default_rng(1).standard_normal(50_000, np.float32) * np.float32(0.02)).tobytes()
GUARD = b"\xa5" * 4096


def zstd_frame(plain: bytes, width: int) -> bytearray:
    """A zstd frame of planes, with room for Blosc's header before it."""
    return Encoder().encode(plain, width)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("size", [20_000, 20_003, len(PLAIN)])
def test_blosc_opens_what_is_smaller_than_its_content(size: int, width: int) -> None:
    frame, plain = zstd_frame(PLAIN[:size], width), bytearray(size)
    assert len(frame) - blosc_planes.HEADER_SIZE < size
    assert blosc_planes.unpack(memoryview(frame), width, memoryview(plain))
    assert plain == PLAIN[:size]


def test_what_blosc_opens_needs_no_numpy_and_whatever_else_uses_blosc_does_no_harm() -> None:
    """`import blosc` sets the library's flags, and gives its error another class."""
    code = """
import sys
from cas.formats import frame
good, plain = bytes.fromhex(sys.argv[1]), bytes(range(8)) * 500
assert frame.decode(good, len(plain)) == plain
assert "numpy" not in sys.modules and "blosc" not in sys.modules
import blosc
assert frame.decode(good, len(plain)) == plain and blosc.set_releasegil(True)
bad = bytearray(good)
bad[24 + 9] ^= 0xFF
try:
    frame.decode(bad, len(plain))
except frame.FrameDamaged:
    print("refused")
"""
    frame = Encoder().encode(bytes(range(8)) * 500, 8)
    done = subprocess.run([sys.executable, "-c", code, frame.hex()], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("refused\n", "")


def test_without_blosc_zstd_and_numpy_do_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = zstd_frame(PLAIN, 4)
    monkeypatch.setattr(blosc_planes, "_blosc", None)
    assert not blosc_planes.unpack(memoryview(frame), 4, memoryview(bytearray(len(PLAIN))))
    assert decode(frame, len(PLAIN)) == PLAIN


def test_hostile_frames_in_sixteen_threads_are_refused_or_fill_their_buffer_and_no_other() -> None:
    frames = [(size, width, zstd_frame(PLAIN[:size], width)) for size in (999, 20_000, 120_000) for width in WIDTHS]
    faults: list[str] = []

    def hammer(seed: int) -> None:
        choose = random.Random(seed)
        for _ in range(60):
            size, width, frame = choose.choice(frames)
            hostile = frame[: choose.choice([len(frame), choose.randrange(30, len(frame))])]
            for _ in range(choose.randrange(4)):
                hostile[choose.randrange(24, len(hostile))] ^= 1 << choose.randrange(8)
            memory = bytearray(GUARD + bytes(size) + GUARD)
            try:
                blosc_planes.unpack(memoryview(hostile), choose.choice([width, 2, 255]), memoryview(memory)[4096:-4096])
            except ValueError:
                pass
            except BaseException as error:
                faults.append(repr(error))
            if memory[:4096] != GUARD or memory[-4096:] != GUARD:
                faults.append(f"written beyond {size} bytes")

    threads = [threading.Thread(target=hammer, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
