"""What an examination found: one finding for each check, and the exit code that the worst of them gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from cas.errors import CacheError, CasError, StoreError

Group: TypeAlias = Literal["settings", "store", "machine"]
Status: TypeAlias = Literal["ok", "warning", "failed", "skipped"]

WORST_FIRST = (4, 5, 8, 6, 7, 3, 2, 1)
"""Exit codes of cas/errors.py, the worst first: damage, format, signature, store, this machine, absence, settings."""


class Result(NamedTuple):
    """What one check found.

    Attributes:
        status: of the check.
        found: what was seen, or the error.
        advice: what to do about it; empty where there is nothing to do, or where `found` says it.
        code: the exit code that a failed check stands for, as in cas/errors.py; 0 for every other status.
    """

    status: Status
    found: str
    advice: str = ""
    code: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """One check, and what it found.

    Attributes:
        group: what was examined.
        name: of the check.
        status: of the check.
        found: what was seen, or the error.
        advice: what to do about it; empty where there is nothing to do, or where `found` says it.
        code: the exit code that a failed check stands for, as in cas/errors.py; 0 for every other status.
    """

    group: Group
    name: str
    status: Status
    found: str
    advice: str = ""
    code: int = 0


def ok(found: str, advice: str = "") -> Result:
    """The result of a check that found everything as it should be."""
    return Result("ok", found, advice)


def warning(found: str, advice: str = "") -> Result:
    """The result of a check that found something to know, with which everything works."""
    return Result("warning", found, advice)


def failed(found: str, advice: str = "", code: int = StoreError.exit_code) -> Result:
    """The result of a check that found something that will not work. code: of cas/errors.py."""
    return Result("failed", found, advice, code)


def skipped(why: str) -> Result:
    """The result of a check that was not made."""
    return Result("skipped", why)


class Findings:
    """Collects findings, and tells a listener each of them at once."""

    def __init__(self, listen: Callable[[Finding], None]) -> None:
        """Begin without findings. listen: is told each finding."""
        self.found: list[Finding] = []
        self._listen = listen

    def add(self, group: Group, name: str, result: Result) -> Result:
        """Note and return the result of a check."""
        finding = Finding(group, name, *result)
        self.found.append(finding)
        self._listen(finding)
        return result

    def check(self, group: Group, name: str, look: Callable[[], Result]) -> Result:
        """Make a check and note its result. An error is a failed check with the error's text and exit code."""
        return self.add(group, name, result_of(look))

    def exit_code(self) -> int:
        """Return 0, or the code of the worst finding."""
        codes = {finding.code for finding in self.found if finding.status == "failed"}
        return next((code for code in WORST_FIRST if code in codes), 0)


def result_of(look: Callable[[], Result]) -> Result:
    """Return what a check found; an error is a failed check."""
    try:
        return look()
    except CasError as error:
        return failed(str(error), code=error.exit_code)
    except OSError as error:
        path = f"{error.filename}: " if error.filename else ""
        return failed(f"{path}{error.strerror or error}", code=CacheError.exit_code)
