"""How a call that failed ends: its exit code, the line on standard error, and with --json a document."""

from __future__ import annotations

import itertools
import sys
from typing import NamedTuple

import click

from cas.cli import hints
from cas.cli.display import output
from cas.cli.options import Settings
from cas.errors import CasError
from cas.formats.printable import printable


class Failure(NamedTuple):
    """What ends a call.

    Attributes:
        kind: the class of the error: one of cas/errors.py, `Interrupted`, or what Python calls an unexpected one.
        message: one line that names the thing, the place, the cause and the next step.
        exit_code: of the process.
        is_expected: whether a traceback tells nothing more.
    """

    kind: str
    message: str
    exit_code: int
    is_expected: bool = False

    def line(self) -> str:
        """The message with the options of the call in the commands that it proposes."""
        return printable(hints.carry(self.message))

    def document(self) -> dict[str, object]:
        """The error as a part of a JSON document; `hint` is the first command that the message proposes, or None."""
        line = self.line()
        hint = hints.first_command(line)
        return {"class": self.kind, "message": line, "exit_code": self.exit_code, "hint": hint}


def failure_of(error: BaseException) -> Failure | None:
    """Return how an error ends the call; None for one that only a traceback explains, and that is to be raised."""
    name = type(error).__name__
    found = None
    match error:
        case click.exceptions.NoArgsIsHelpError():
            found = Failure("InputError", "no command is given: see `cas --help`", 2, is_expected=True)
        case click.ClickException():
            command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "cas"
            text = _wrong_call(error).rstrip(".")
            see = f" See `{command} --help`" if text.endswith("?") else f": see `{command} --help`"
            found = Failure("InputError", text + see, 2, is_expected=True)
        case KeyboardInterrupt() | click.Abort():
            text = "interrupted; nothing half-done is visible. Run the same command again to go on where it stopped"
            found = Failure("Interrupted", text, 130, is_expected=True)
        case CasError():
            found = Failure(name, str(error), error.exit_code)
        case OSError():
            path = f"{error.filename}: " if error.filename else ""
            found = Failure(name, f"{path}{error.strerror or error}", 7)
        case Exception():
            found = Failure(name, f"unexpected {name}: {error}: run again with -v and report it", 1)
        case _:
            from cas.bucket.errors.clients import is_panic

            if is_panic(error):
                found = Failure(name, f"a library failed ({error}): report it, with what it printed above", 1)
    return found


def _wrong_call(error: click.ClickException) -> str:
    """What is wrong with a call, in one sentence; of the options that a typo may be, the two closest."""
    if not isinstance(error, click.NoSuchOption) or not error.possibilities:
        return error.format_message()
    from difflib import get_close_matches

    close = get_close_matches(error.option_name, error.possibilities, n=2, cutoff=0)
    return f"No such option '{error.option_name}'. Did you mean {' or '.join(map(repr, close))}?"


def print_document(failure: Failure, settings: Settings) -> None:
    """Print the document of a failure if the call wants JSON and nothing stands on standard output yet.

    Args:
        failure: what ended the call.
        settings: the global options; a wrong call may have ended before --json was read, so its words count, too.
    """
    if (settings.json or "--json" in _own_words(sys.argv[1:])) and not getattr(sys.stdout, "is_written", False):
        output.document({"error": failure.document()})


def _own_words(words: list[str]) -> list[str]:
    """Return the words of a call that are no arguments of a command that `cas run` would have become."""
    from cas.cli.synonyms import SYNONYMS

    words = words[: words.index("--")] if "--" in words else words
    at = next((at for at, word in enumerate(words) if SYNONYMS.get(word, word) == "run"), None)
    if at is None:
        return words
    behind = at + 1
    return words[:behind] + list(itertools.takewhile(lambda word: word.startswith("-"), words[behind:]))
