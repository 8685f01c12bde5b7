"""What a fleet's check came to: the sum of its shards, and those that could not be checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from cas.errors import CacheError, CasError, FormatError, InputError, IntegrityError, NotFoundError, StoreError
from cas.ops.fsck.report import Checked

_ERRORS: Mapping[int, type[CasError]] = {
    error.exit_code: error for error in (InputError, NotFoundError, IntegrityError, FormatError, StoreError, CacheError)
}


class Failure(NamedTuple):
    """Why a shard was not checked.

    Attributes:
        text: the cause.
        code: the exit code of the error.
        final: whether another try cannot help.
    """

    text: str
    code: int
    final: bool = False


class FleetChecked(NamedTuple):
    """What a fleet found.

    Attributes:
        checked: the sum of the results of the shards that were checked.
        unchecked: the shards that could not be checked (such as `3/16`), in order, and why.
        code: the exit code of the first such failure; 0 when all shards were checked.
    """

    checked: Checked
    unchecked: dict[str, str]
    code: int


def error_of(code: int, text: str) -> CasError:
    """Return an error of this exit code and text."""
    return _ERRORS.get(code, CasError)(text)


def unchecked_summary(unchecked: Mapping[str, str]) -> str:
    """Return one line that names the shards that were not checked, and why the first was not."""
    names = list(unchecked)
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    noun = "shard" if len(names) == 1 else "shards"
    return f"{noun} {shown} could not be checked: {unchecked[names[0]]}"


def described(found: Checked) -> str:
    """Return a line about the result of a shard."""
    damage = f"{found.left} objects missing or damaged" if found.left else "all sound"
    return f"shard {found.shard}: {found.checked} chunks, {found.size / 1e6:,.1f} MB, {damage}"
