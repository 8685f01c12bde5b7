"""Lines for the log of a worker, on standard error, where results do not go."""

from __future__ import annotations

import sys


def note(text: str) -> None:
    """Something who reads the log wants to know."""
    _line(text)


def warn(text: str) -> None:
    """Something went otherwise than wished, and the worker goes on."""
    _line(f"warning: {text}")


def error(text: str) -> None:
    """Something is wrong that somebody has to look into, even where the worker goes on."""
    _line(f"error: {text}")


def told(failure: BaseException) -> str:
    """A failure in words: our own errors carry no secrets; of other people's, the class alone."""
    from cas.errors import CasError

    if isinstance(failure, CasError):
        return str(failure)
    if isinstance(failure, OSError) and failure.strerror:
        return ": ".join(filter(None, (str(failure.filename or ""), failure.strerror)))
    return f"unexpected {type(failure).__name__}"


def _line(text: str) -> None:
    # One write a line: several processes share this stream.
    sys.stderr.write(f"worker: {text}\n".replace("\n", " ").rstrip() + "\n")
    sys.stderr.flush()
