"""What the refusal of an input must be like: an error of this project whose text is one harmless line."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cas.errors import CasError
from cas.formats.printable import printable

_LONGEST = 20_000  # characters


def check(error: CasError) -> None:
    """Raise AssertionError if the text of an error steers a terminal, breaks a line, or has no end."""
    text = str(error)
    assert text == printable(text), f"the error's text is not one harmless line: {text!a}"
    assert len(text) <= _LONGEST, f"the error's text has {len(text)} characters"


def read_all(readers: Iterable[Callable[[], object]]) -> None:
    """Call every reader, and raise the first refusal at the end.

    Raises:
        CasError: a reader refused its input.
    """
    refused: CasError | None = None
    for reader in readers:
        try:
            reader()
        except CasError as error:
            check(error)
            refused = refused or error
    if refused is not None:
        raise refused
