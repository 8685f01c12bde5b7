"""Bytes of which no format tells anything are cut by their content: the same cuts wherever the content stands."""

from __future__ import annotations

import io
import random
from itertools import accumulate

import numpy as np
import pytest

from cas.formats import content_cuts
from cas.formats.content_cuts import MAX, MIN
from tests.formats.files_to_cut import MIB, cut, new_bytes, noise

PINNED = [2389395, 4720117, 5814683, 6390486, 3730339, 6408308, 5201648, 7288064]
NOISE = noise(168 * MIB)


def sizes(data: bytes, offset: int = 0) -> list[int]:
    return list(content_cuts.cuts(io.BytesIO(data), offset, len(data) - offset))


def test_the_cuts_are_those_of_the_format_for_ever() -> None:
    """The rule is part of a stored format: a program that cuts elsewhere sends everything anew."""
    data = random.Random(5).randbytes(40 * MIB)
    assert sizes(data) == PINNED
    assert [span.size for span in cut(data)] == PINNED


def test_the_rule_in_plain_arithmetic() -> None:
    """The documented rule, in plain Python, for the first chunk."""
    data = random.Random(5).randbytes(9 * MIB)
    factors = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5)
    for at in range(MIN, MIN + 2 * MIB):
        if (data[at] + 256 * data[at + 1]) * 0x9E39 % 65536 > 65535 - 64:
            words = (int.from_bytes(data[at + 8 * n : at + 8 * n + 8], "little") for n in range(4))
            if sum(word * factor for word, factor in zip(words, factors, strict=True)) % 2**64 < 2**52:
                break
    assert at == sizes(data)[0]


@pytest.mark.parametrize("front", [1, 100, 3001, 5 * MIB])
def test_bytes_at_the_front_leave_95_percent_as_they_are(front: int) -> None:
    """ONNX's external data, a legacy checkpoint, anything else: at most 5 % are stored anew (and what was added)."""
    added = np.random.default_rng(2).bytes(front)
    assert new_bytes(NOISE, added + NOISE) <= front + 0.05 * len(NOISE)


def test_bytes_in_the_middle_and_at_the_end_leave_95_percent_as_they_are() -> None:
    middle = 70 * MIB + 13
    assert new_bytes(NOISE, NOISE[:middle] + b"x" * 1000 + NOISE[middle:]) <= 0.05 * len(NOISE)
    assert new_bytes(NOISE, NOISE + b"x" * 1000) <= 0.05 * len(NOISE)


@pytest.mark.parametrize(
    "pattern",
    [b"\0", b"\xff", b"\x55", b"ab", b"\0\0\x80\x3f", b"abc", bytes(range(256)), b"one line of many\n", b"\x07\x99"],
    ids=repr,
)
def test_repeated_bytes_make_no_small_chunks(pattern: bytes) -> None:
    """Hostile data has no candidates, or one at each position: neither costs memory or breaks the limits."""
    found = sizes((pattern * (25 * MIB // len(pattern) + 1))[: 25 * MIB])
    assert all(MIN <= size <= MAX for size in found[:-1])
    assert sum(found) == 25 * MIB


def test_a_pair_that_is_a_candidate_everywhere() -> None:
    pair = next(value for value in range(65536) if value * 0x9E39 % 65536 > 65535 - 64).to_bytes(2, "little")
    found = sizes(pair * (10 * MIB))
    assert found[:-1] == [MIN] * (len(found) - 1)
    assert found[-1] <= MAX


@pytest.mark.parametrize(("size", "expected"), [(0, []), (1, [1]), (MAX, [MAX])])
def test_a_run_of_up_to_8_mib_is_one_chunk(size: int, expected: list[int]) -> None:
    assert sizes(NOISE[:size]) == expected


def test_a_run_begins_anywhere_in_its_file() -> None:
    data = NOISE[: 30 * MIB]
    assert sizes(b"front" + data, 5) == sizes(data)


def test_a_file_that_became_shorter_is_covered_as_it_was_listed() -> None:
    found = list(content_cuts.cuts(io.BytesIO(NOISE[: 9 * MIB]), 0, 30 * MIB))
    assert sum(found) == 30 * MIB
    assert max(accumulate(found)) == 30 * MIB
    assert max(found) <= MAX
