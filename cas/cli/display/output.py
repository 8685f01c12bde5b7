"""How results reach the user: tables and lines for people, one JSON document for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cas.formats.printable import printable_json

if TYPE_CHECKING:
    from cas.cli.options import Settings
    from cas.store.store import Store

SHORT_DIGEST = 12
"""Hex digits of a digest or commit that tables show."""


def document(value: object) -> None:
    """Print the one JSON document of this call, in ASCII where the output's encoding is none of Unicode."""
    is_unicode = (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    sys.stdout.write(printable_json(json.dumps(value, indent=2, ensure_ascii=not is_unicode)) + "\n")


def print_store(settings: Settings, store: Store) -> None:
    """Say on standard error which store a command wrote to; not with -q, nor with --json, whose document says it."""
    if not settings.quiet and not settings.json:
        print(f"store: {store.where}", file=sys.stderr)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns that are as wide as their longest cell."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def short(digest: str) -> str:
    """The beginning of a digest or commit, as tables show it: 12 hex digits, and `blake3:` before them if given."""
    before, colon, digits = digest.rpartition(":")
    return f"{before}{colon}{digits[:SHORT_DIGEST]}"


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
