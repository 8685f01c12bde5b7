"""What a fleet has checked so far, in a file, so that a check goes on after the command or the scheduler was lost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from cas.errors import InputError
from cas.formats.typed_json import JsonFormat
from cas.ops.fsck.checkpoint import read_state, remove_file, replace_file
from cas.ops.fsck.report import Checked

_VERSION = 1
_MAX_SIZE = 1024 * 1024 * 1024  # bytes: 256 shards of 5,000 named objects each


class FleetState(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The content of the file.

    Attributes:
        fleet_version: of this format.
        store: URL of the store.
        scope: what is checked, None for the whole store.
        sample: the share of the chunks that is checked, 1 for all.
        shards: into how many shares the store is cut.
        results: of the shards that are checked, by their names (such as `3/16`).
    """

    fleet_version: Annotated[int, msgspec.Meta(ge=_VERSION, le=_VERSION)] = _VERSION
    store: str
    scope: str | None
    sample: float
    shards: int
    results: dict[str, Checked] = {}

    def save(self, path: Path | None) -> None:
        """Write the file, whole or not at all; nothing without a path."""
        if path is not None:
            replace_file(path, _STATES.encode(self))


_STATES = JsonFormat[FleetState](FleetState)


def load_state(path: Path | None, wanted: FleetState) -> FleetState:
    """Return what the file says, or `wanted`, the state of a check that begins, if there is no file.

    Raises:
        InputError: the file is of another check, or no state of a fleet at all.
    """
    if path is None:
        return wanted
    if (state := read_state(_STATES, path, _MAX_SIZE, "cas fsck --fleet")) is None:
        return wanted
    if (state.store, state.scope, state.sample, state.shards) != (
        wanted.store, wanted.scope, wanted.sample, wanted.shards
    ):  # fmt: skip
        scope = f" {state.scope}" if state.scope else ""
        share = "" if state.sample == 1 else f" --sample {state.sample:.6%}"
        raise InputError(
            f"{path} is of another check, `cas --store {state.store} fsck{scope}{share} --shards {state.shards}`: "
            "finish that, remove the file, or name another --state"
        )
    return state


def remove_state(path: Path | None) -> None:
    """Remove the file, because the check is complete; nothing without a path."""
    if path is not None:
        remove_file(path)
