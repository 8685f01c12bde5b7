"""Foreign text made harmless; the text of every language stays readable."""

from __future__ import annotations

import json

import pytest

from cas.formats.printable import printable, printable_json, printable_lines, printable_traceback

READABLE = [
    "plain",
    "Grüße aus Köln",
    "漢字 かな 한글",
    "עברית العربية",
    "नमस्ते",
    "é e\u0301",
    "🎉 👩‍👩‍👧 ❤️",
    "a\u00a0b\u3000c",
    "…—“”",
]
HOSTILE = {
    "\x1b[2J\x1b]0;owned\x07": r"\x1b[2J\x1b]0;owned\x07",
    "a\r\ncas: fake": r"a\r\ncas: fake",
    "a\tb\x00\x7f": r"a\tb\x00\x7f",
    "\x9b2J": r"\x9b2J",
    "\u202egnp.exe\u202c": r"\u202egnp.exe\u202c",
    "\u2066x\u2069\u200e\u200f": r"\u2066x\u2069\u200e\u200f",
    "a\u2028b\u2029c": r"a\u2028b\u2029c",
    "\ud800x": r"\ud800x",
    "\ufeffx\u200bx": r"\ufeffx\u200bx",
    "\U000e0041": r"\U000e0041",
}


@pytest.mark.parametrize("text", READABLE)
def test_text_stays_readable(text: str) -> None:
    assert printable(text) == printable_lines(text) == printable_json(text) == text


@pytest.mark.parametrize(("text", "shown"), HOSTILE.items())
def test_what_steers_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown
    shown.encode()


@pytest.mark.parametrize("text", HOSTILE)
def test_json_means_the_same(text: str) -> None:
    document = printable_json(json.dumps({text: [text]}, indent=2, ensure_ascii=False))
    assert json.loads(document) == {text: [text]}
    assert all(line.isprintable() for line in document.split("\n"))


def test_lines_keep_their_breaks_and_nothing_else() -> None:
    assert printable_lines("a\tb\n\x1b[2Jc\r\n") == "a\tb\n\\x1b[2Jc\\r\n"


def test_a_traceback_forges_no_message() -> None:
    shown = printable_traceback("Traceback\nError: x\ncas: all well\r\n\u2028cas: y\n", "cas")
    assert shown == "Traceback\nError: x\n  cas: all well\\r\n\\u2028cas: y\n"
