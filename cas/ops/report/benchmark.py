"""The figures of a benchmark, `python -m tools.bench --json FILE`: how long each client took on each connection."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from cas.errors import FormatError, NotFoundError
from cas.formats.typed_json import JsonFormat

_LARGEST = 64 << 20  # bytes of a file


class Wall(msgspec.Struct, frozen=True):
    """Seconds of wall time over several runs.

    Attributes:
        median: of all runs.
        min: the shortest.
        max: the longest.
    """

    median: float
    min: float
    max: float


class Case(msgspec.Struct, frozen=True):
    """One client on one connection.

    Attributes:
        link: name of the connection.
        case: name of the client and what it did.
        wall_s: seconds; None where it was not measured.
    """

    link: str
    case: str
    wall_s: Wall | None = None


class _Document(msgspec.Struct, frozen=True):
    summary: list[Case]


_DOCUMENTS = JsonFormat[_Document](_Document)


def read_benchmark(path: str | os.PathLike[str]) -> tuple[Case, ...]:
    """Return the measured cases of a results file, in its order.

    Args:
        path: the file.

    Raises:
        NotFoundError: there is no such file.
        FormatError: it is no results file of the benchmark.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise NotFoundError(f"no benchmark's results at {os.fspath(path)}: `make bench` writes such a file") from None
    try:
        if len(data) > _LARGEST:
            raise msgspec.DecodeError("it is larger than 64 MiB")
        cases = _DOCUMENTS.decode(data).summary
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"{os.fspath(path)} has no results of `make bench`: {error}") from None
    return _comparable(cases)


def _comparable(cases: Sequence[Case]) -> tuple[Case, ...]:
    """The cases that were measured, of connections on which there are several to compare."""
    measured = [case for case in cases if case.wall_s is not None]
    counts = [case.link for case in measured]
    return tuple(case for case in measured if counts.count(case.link) > 1)
