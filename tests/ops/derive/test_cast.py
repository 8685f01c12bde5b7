"""The cast bit for bit against Python's own arithmetic and torch; its proof against everything that is wrong."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from cas.ops.derive.cast import cast
from cas.ops.derive.nearest import Verdict, compare, same
from tests.support.safetensors import NAN, TARGETS, WIDTHS, cast_all

PAIRS = [(dtype, target) for dtype in ("F64", "F32", "F16", "BF16") for target in ("F16", "BF16")]
INFINITY = {"F16": 0x7C00, "BF16": 0x7F80}


def was_cast(data: bytes, dtype: str, target: str) -> bytes:
    out = bytearray(len(data) // WIDTHS[dtype] * 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cast(data, dtype, target, out)
    return bytes(out)


def halfway(target: str) -> npt.NDArray[np.float64]:
    """Every boundary between neighbouring finite values of the target, and that to infinity."""
    values = np.arange(INFINITY[target], dtype=np.uint16)
    if target == "F16":
        finite = values.view(np.float16).astype(np.float64)
    else:
        finite = (values.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
    finite = np.append(finite, 2.0 ** (16 if target == "F16" else 128))
    return (finite[:-1] + finite[1:]) / 2


def inputs(dtype: str, target: str) -> bytes:
    """All elements of two bytes; of wider types the boundaries, their neighbours, special values and random bits."""
    if WIDTHS[dtype] == 2:
        return np.arange(1 << 16, dtype=np.uint16).tobytes()
    wide, single = (np.uint64, np.float64) if dtype == "F64" else (np.uint32, np.float32)
    rng = np.random.default_rng(5)
    middle = halfway(target)[:: 1 if target == "F16" else 4].astype(single).view(wide)
    random = rng.integers(0, 1 << (8 * WIDTHS[dtype]) - 1, 50_000, dtype=wide)
    ends = np.arange(100, dtype=wide)
    infinity = np.array([np.inf], single).view(wide)
    bits = np.concatenate([middle - wide(1), middle, middle + wide(1), random, ends, infinity - ends, infinity + ends])
    if dtype == "F64":
        # Where rounding once and rounding twice differ: a hair off a boundary, which float32 does not see.
        middle = halfway(target)[::8]
        bits = np.concatenate([bits, *((middle * (1 + side * 2.0**-40)).view(wide) for side in (-1, 1))])
        bits = np.concatenate([bits, np.exp2(rng.uniform(-152, 129, 20_000)).view(wide)])
    return np.concatenate([bits, bits | wide(1 << (8 * WIDTHS[dtype] - 1))]).tobytes()


@pytest.mark.parametrize(("dtype", "target"), PAIRS)
def test_every_kind_of_value_is_rounded_as_python_rounds_it(dtype: str, target: str) -> None:
    data = inputs(dtype, target)
    got = was_cast(data, dtype, target)
    wanted = cast_all(data, dtype, target)
    differ = np.flatnonzero(np.frombuffer(got, np.uint16) != np.frombuffer(wanted, np.uint16))
    shown = [data[at * WIDTHS[dtype] :][: WIDTHS[dtype]][::-1].hex() for at in differ[:5]]
    assert not differ.size, shown
    assert compare(data, dtype, got, target).wrong == 0


@pytest.mark.parametrize(("dtype", "target"), PAIRS)
def test_torch_gives_the_same(dtype: str, target: str) -> None:
    golden = json.loads(Path(__file__).with_name("torch_casts.json").read_text())["casts"][f"{dtype}->{target}"]
    data = b"".join(bytes.fromhex(given)[::-1] for given, _ in golden)
    got = np.frombuffer(was_cast(data, dtype, target), np.uint16)
    wanted = np.array([int(result, 16) for _, result in golden], np.uint16)
    nans = ((got & 0x7FFF) > INFINITY[target]) & ((wanted & 0x7FFF) > INFINITY[target])
    assert len(golden) >= 200
    assert 0 < nans.sum() < 60
    assert (got == wanted)[~nans].all()


def test_float16_survives_being_widened() -> None:
    for dtype, numpy_type in (("F32", np.float32), ("F64", np.float64)):
        every = np.arange(1 << 16, dtype=np.uint16)
        every = every[(every & 0x7FFF) <= 0x7C00]
        wide = every.view(np.float16).astype(numpy_type)
        assert was_cast(wide.tobytes(), dtype, "F16") == every.tobytes()


def test_elements_need_no_alignment_and_sizes_must_agree() -> None:
    values = np.linspace(-3, 3, 200_001, dtype=np.float32)
    room, out = bytearray(1 + values.nbytes), bytearray(1 + values.nbytes // 2)
    room[1:] = values.tobytes()
    cast(memoryview(room)[1:], "F32", "F16", memoryview(out)[1:])
    assert bytes(out[1:]) == values.astype(np.float16).tobytes()
    assert compare(memoryview(room)[1:], "F32", memoryview(out)[1:], "F16") == Verdict()
    for source, size in ((b"abc", 2), (b"abcd", 4), (b"abcd", 0)):
        with pytest.raises(ValueError, match="bytes of F32 are not"):
            cast(source, "F32", "F16", bytearray(size))
    with pytest.raises(ValueError, match="cannot be cast to"):
        compare(b"abcd", "F32", b"", "F16")
    was_cast(b"", "F64", "F16")
    assert compare(b"", "F64", b"", "F16") == Verdict()


@pytest.mark.parametrize(("dtype", "target"), [pair for pair in PAIRS if pair[0] != pair[1]])
@pytest.mark.parametrize("mask", [1, 2, 0x8000, 0x100])
def test_a_wrong_bit_is_never_proven(dtype: str, target: str, mask: int) -> None:
    data = inputs(dtype, target)
    right = np.frombuffer(was_cast(data, dtype, target), np.uint16)
    for offset in range(3):
        wrong = right.copy()
        wrong[offset::3] ^= mask
        assert compare(data, dtype, wrong.tobytes(), target).wrong == wrong[offset::3].size


@pytest.mark.parametrize("target", ["F16", "BF16"])
def test_only_the_definition_passes(target: str) -> None:
    """For some originals, each of all 65,536 results is compared: exactly one is right."""
    middle = halfway(target)
    some = [0.0, -0.0, 1.0, -1.5, middle[0], middle[1], middle[-1], -middle[-1], middle[1000], 1e38, np.inf, -np.inf]
    every = np.arange(1 << 16, dtype=np.uint16)
    for value in [*np.array(some, np.float32), *np.array([0x7F800001, 0xFFFFFFFF, 0x7FFFFFFF], np.uint32).view("f4")]:
        data = np.full(1 << 16, value, np.float32)
        wrong = compare(data.tobytes(), "F32", every.tobytes(), target).wrong
        assert wrong == (1 << 16) - 1, value
        (bits,) = np.frombuffer(was_cast(data[:1].tobytes(), "F32", target), np.uint16)
        assert compare(data[:1].tobytes(), "F32", bits.tobytes(), target).wrong == 0


def test_what_overflows_and_what_is_nan_is_counted() -> None:
    floats = np.array([1, 65519, 65520, -1e30, np.inf, np.nan, -np.nan, 3.4e38], np.float32).tobytes()
    doubles = np.frombuffer(floats, np.float32).astype(np.float64).tobytes()
    for data, dtype in ((floats, "F32"), (doubles, "F64")):
        assert compare(data, dtype, was_cast(data, dtype, "F16"), "F16") == Verdict(0, overflowed=3, nans=2)
        assert compare(data, dtype, was_cast(data, dtype, "BF16"), "BF16") == Verdict(0, overflowed=1, nans=2)
    huge = np.array([1e300, -1e39], np.float64).tobytes()
    assert compare(huge, "F64", was_cast(huge, "F64", "BF16"), "BF16").overflowed == 2


def test_nans_are_of_one_kind() -> None:
    nans = np.array([0x7F800001, 0x7FC12345, 0xFF800001, 0xFFFFFFFF], np.uint32).tobytes()
    assert was_cast(nans, "F32", "F16") == np.array([0x7E00, 0x7E00, 0xFE00, 0xFE00], np.uint16).tobytes()
    assert was_cast(nans, "F32", "BF16") == np.array([NAN["BF16"]] * 4, np.uint16).tobytes()


def test_bytes_that_are_not_cast_are_compared_too() -> None:
    assert same(b"abc", b"abc") == Verdict()
    assert same(b"abc", b"axc").wrong == 1
    for target in TARGETS.values():
        assert compare(b"abcd", target, b"abce", target).wrong == 1
