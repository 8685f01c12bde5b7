"""Blocks of code in documents: which are there, and which say that no test runs them, and why."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<why>[^\n]+) -->\n)?(?: *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A block of code.

    Attributes:
        language: as it stands behind the opening fence; empty if none does.
        text: what it holds.
        why_not: why no test runs it; empty where one does.
    """

    language: str
    text: str
    why_not: str

    def commands(self) -> list[str]:
        """Return the commands of a shell's block, without comments."""
        lines = (re.sub(r"(^| {2,})# .*", "", line).strip() for line in self.text.splitlines())
        return [line for line in lines if line]


def blocks_of(document: Path) -> list[Block]:
    """Return a document's blocks of code, in order."""
    found = _BLOCK.finditer(document.read_text("utf-8"))
    return [Block(match["language"], match["text"], match["why"] or "") for match in found]
