"""The text of a manual page in roff, with the macros of man(7), which groff and mandoc both know."""

from __future__ import annotations

import re

_NAMED = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}


def escaped(text: str) -> str:
    """Return text as roff prints it unchanged, in ASCII."""
    return "".join(
        _NAMED.get(sign, sign if ord(sign) < 128 else f"\\[u{ord(sign):04X}]") for sign in text.replace("\n", " ")
    )


def bold(text: str) -> str:
    """Return text, which need not be escaped, in bold."""
    return f"\\fB{escaped(text)}\\fR"


def prose(text: str) -> str:
    """Return a paragraph on one line, with what stands between backquotes in bold."""
    pieces = re.split(r"`([^`]+)`", " ".join(text.split()))
    line = "".join(bold(piece) if at % 2 else escaped(piece) for at, piece in enumerate(pieces))
    return f"\\&{line}" if line.startswith(".") else line


def synopsis(words: list[str]) -> str:
    """Return the pieces of a call: what the user replaces, in italics."""
    return " ".join(re.sub(r"[A-Z][A-Z|:]*\d?", lambda word: f"\\fI{word[0]}\\fR", escaped(word)) for word in words)


class Page:
    """A manual page while it is written.

    Attributes:
        lines: its lines so far.
    """

    def __init__(self, name: str) -> None:
        """Begin a page of the section for commands. name: such as `cas-restore`."""
        self.lines = [f'.TH "{escaped(name.upper())}" 1 "" "model\\-cas" "model\\-cas"']

    def section(self, title: str) -> None:
        """Begin a section."""
        self.lines.append(f".SH {title}")

    def subsection(self, title: str) -> None:
        """Begin a part of a section."""
        self.lines.append(f".SS {escaped(title)}")

    def paragraph(self, text: str) -> None:
        """Add a paragraph in prose."""
        self.lines += [".PP", prose(text)]

    def literal(self, lines: list[str]) -> None:
        """Add lines that are printed as they are, such as commands."""
        self.lines += [".PP", ".RS 4", ".nf", *(f"\\&{escaped(line)}" for line in lines), ".fi", ".RE"]

    def term(self, term: str, text: str) -> None:
        """Add an item of a list. term: in roff; text: in prose."""
        self.lines += [".TP", term, prose(text)]

    def text(self) -> str:
        """Return the page."""
        return "\n".join(self.lines) + "\n"
