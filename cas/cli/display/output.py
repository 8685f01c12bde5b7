"""How results reach the user: one JSON document for programs, ids for scripts, sizes and counts in words for people.

Tables are in `table.py`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cas.formats.printable import printable_json

if TYPE_CHECKING:
    from cas.cli.display.table import Column
    from cas.cli.options import Settings
    from cas.store.store import Store


def document(value: object) -> None:
    """Print the one JSON document of this call, in ASCII where the output's encoding is none of Unicode."""
    is_unicode = (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    sys.stdout.write(printable_json(json.dumps(value, indent=2, ensure_ascii=not is_unicode, default=_text)) + "\n")


def _text(value: object) -> str:
    """The text of a path; no other value of a document is written by its text."""
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in a document")


def print_store(settings: Settings, store: Store) -> None:
    """Say on standard error which store a command wrote to; not with -q, nor with --json, whose document says it.

    It comes before the result, so that a terminal, a pipe and the documents show both in the same order.
    """
    if not settings.quiet and not settings.json:
        print(f"store: {store.where}", file=sys.stderr)


def limit(settings: Settings) -> int | None:
    """Columns that a line may take: those of the terminal; None where there is none, and with --no-trunc."""
    from cas.cli.display.terminal import width

    return None if settings.no_trunc else width()


def table(settings: Settings, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below a header, as `print_table` does."""
    from cas.cli.display.table import print_table

    print_table(settings, columns, rows)


def ids(values: Iterable[str]) -> None:
    """Print what -q shows of a list: one id a line, which can be typed back, and nothing else."""
    for value in values:
        print(value)


def short(text: str, *, whole: bool = False) -> str:
    """A text whose digests and commits are cut to 12 digits, without `blake3:`; what stands around them stays.

    Args:
        text: digests, whole.
        whole: cut nothing, as with --no-trunc.
    """
    from cas.formats import digest

    return text if whole else digest.short(text)


def size(count: float) -> str:
    """A number of bytes as people read it, in powers of 1000 as `hf` and disks count them: `1.4 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} TB"


def count(number: int, noun: str) -> str:
    """A number of things in words: `1 chunk`, `2,000 chunks`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
