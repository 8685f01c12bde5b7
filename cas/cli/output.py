"""How results reach the user: tables and lines for people, one JSON document for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence


def document(value: object) -> None:
    """Prints the one JSON document of this call."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints columns wide enough for their cells; the last one may run on."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def size(count: float) -> str:
    """Bytes for people, in powers of 1000 as `hf` and disks count them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} TB"


def count(number: int, noun: str) -> str:
    """A number of things: `1 chunk`, `2,000 chunks`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
