"""Make foreign text harmless: what a server, a key, a name or a reason says cannot steer a terminal or forge a line.

Every exit of text uses this module: errors (`CasError`), the command line's streams, the worker's log, receipts and the
cold-start line. Escape sequences, carriage returns, line breaks, bidi marks, U+2028 and lone surrogates become visible
escapes such as `\\x1b`; letters of every script, spaces of every width and emoji stay as they are.
"""

from __future__ import annotations

import re

# Categories of `str.isprintable` that are harmless all the same: the spaces of typography, and the joiners that emoji
# and Indic and Persian words consist of.
_HARMLESS = frozenset(
    "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000\u200c\u200d"
)
_NOT_ASCII_PRINTABLE = re.compile(r"[^ -~]")


def printable(text: str) -> str:
    """Return `text` as one harmless line: each character that steers a terminal or breaks a line is escaped."""
    return _NOT_ASCII_PRINTABLE.sub(_escaped, text)


def no_command(text: str) -> str:
    """Return foreign text that proposes no command: those that messages propose stand in backquotes."""
    return text.replace("`", "'")


def printable_lines(text: str) -> str:
    """Return a text of several lines, each harmless; only its line feeds and tabs still act."""
    return _NOT_ASCII_PRINTABLE.sub(lambda match: match[0] if match[0] in "\n\t" else _escaped(match), text)


def printable_traceback(text: str, program: str) -> str:
    """Return a traceback whose lines are harmless, and none of which looks like a message of the program.

    Args:
        text: the traceback; its last lines are the message of an exception, which may contain line feeds.
        program: what the program's own lines begin with, before a colon.
    """
    return re.sub(rf"^(?={program}:)", "  ", printable_lines(text), flags=re.MULTILINE)


def printable_json(document: str) -> str:
    """Return a JSON document of the same value, with what steers a terminal or breaks a line as JSON escapes."""
    return _NOT_ASCII_PRINTABLE.sub(_json_escaped, document)


def _is_harmless(character: str) -> bool:
    return character.isprintable() or character in _HARMLESS


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    return character if _is_harmless(character) else character.encode("unicode_escape").decode()


def _json_escaped(match: re.Match[str]) -> str:
    character = match[0]
    if character == "\n" or _is_harmless(character):
        return character  # JSON strings contain no line feed: those that are left indent the document
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))
