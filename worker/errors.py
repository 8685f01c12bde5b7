"""Errors of a job, as its sender is told, and errors in words for the log."""

from __future__ import annotations

from cas.errors import CasError, InputError

_SHOWN = 60


class BadRequest(InputError):
    """A job's input is wrong: the message is one sentence with the field, what is wrong and what is allowed."""


class _OfGpu(CasError):
    """An error of the GPU in a job.

    Attributes:
        line: what torch said, in one line; empty when it is not known.
    """

    def __init__(self, message: str, line: str = "") -> None:
        super().__init__(message)
        self.line = line


class WorkerBroken(_OfGpu):
    """The worker cannot answer any further job: it has to be restarted."""


class GpuFull(_OfGpu):
    """A job needed more memory than the GPU has; the worker can answer others."""


class GpuFailed(CasError):
    """The GPU cannot run the model, whose files are not to blame: torch has no code for it, or it fails.

    Exit code 9 is the worker's own: those of cas/errors.py end at 8.
    """

    exit_code = 9


def describe_error(error: BaseException) -> str:
    """Say in words what went wrong, without a secret.

    Errors of this project carry no secrets; of an OSError its file and its reason are said, of all others the class.
    """
    if isinstance(error, CasError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return ": ".join(filter(None, (str(error.filename or ""), error.strerror)))
    return f"unexpected {type(error).__name__}"


def shown(value: object) -> str:
    """Return a value of a job or of a file as an error message may show it: short, ASCII, on one line."""
    if isinstance(value, str):
        return ascii(value if len(value) <= _SHOWN else value[:_SHOWN] + "...")
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, int):
        # Python refuses to write out integers of many digits.
        return str(value) if abs(value) < 10**18 else "an integer of more than 18 digits"
    if isinstance(value, float):
        return repr(value)
    return "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else "of another type"
