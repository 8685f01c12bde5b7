"""How far a check has come, in a file: a large store is checked in several sittings."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from cas.errors import InputError
from cas.formats.digest import Hex
from cas.local.directory import Directory
from cas.local.fs import sync, write_all
from cas.ops.fsck.damage import Trouble

SAVE_EVERY = 5.0
"""Seconds between two writes of the file."""

_VERSION = 1


class State(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a check knows.

    sample: the share that is checked, 1 for all. seed: decides which. versions: digests (64 hex) of the versions whose
    chunks up to `watermark` are done; the watermark is empty when none is. checked, size, wire: chunks done, their
    plain bytes, and bytes that crossed the connection for them. found: what is damaged, by digest.
    """

    version: Annotated[int, msgspec.Meta(ge=_VERSION, le=_VERSION)] = _VERSION
    store: str
    scope: str | None
    sample: float
    seed: str
    versions: tuple[Hex, ...] = ()
    watermark: str = ""
    checked: int = 0
    size: int = 0
    wire: int = 0
    found: dict[str, Trouble] = {}


def load(path: Path, store: str, scope: str | None, sample: float) -> State | None:
    """The state in a file, None when there is none; raises InputError when it is another check's, or no state."""
    try:
        state = msgspec.json.decode(path.read_bytes(), type=State)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} is no state of this version of `cas fsck` ({error}): remove it, or name another --state"
        ) from None
    if (state.store, state.scope, state.sample) != (store, scope, sample):
        share = "" if state.sample == 1 else f" --sample {state.sample:.6%}"
        raise InputError(
            f"{path} is of another check, `cas --store {state.store} fsck{' ' + state.scope if state.scope else ''}"
            f"{share}`: finish that, remove the file, or name another --state"
        )
    return state


class Progress:
    """A check's state as it goes on, written to its file now and then. state: what is known by now."""

    def __init__(self, state: State, path: Path | None) -> None:
        self.state, self._path = state, path
        self._guard = threading.Lock()
        self._order: Sequence[bytes] = ()
        self._versions: tuple[str, ...] = ()
        self._before = bytes.fromhex(state.watermark)
        self._low = 0
        self._ended = False
        self._done: dict[int, tuple[int, int]] = {}
        self._counts = (state.checked, state.size, state.wire)
        self._saved = time.monotonic()

    def begin(self, order: Sequence[bytes], versions: Sequence[str]) -> None:
        """order: the chunks to be done, by digest. versions: those that need them, or needed others before."""
        self._order, self._versions = order, tuple(versions)
        for digest in order if self.state.found else ():
            self.state.found.pop(digest.hex(), None)  # it is looked at again
        with self._guard:
            self._save()

    def done(self, place: int, trouble: Trouble | None, size: int, wire: int) -> None:
        """One chunk of the order is done. size: its plain bytes. wire: what crossed the connection for it."""
        with self._guard:
            if trouble is not None:
                self.state.found[self._order[place].hex()] = trouble
            self._done[place] = (size, wire)
            while self._low in self._done:
                size, wire = self._done.pop(self._low)
                chunks, total, moved = self._counts
                self._counts = (chunks + 1, total + size, moved + wire)
                self._low += 1
            if time.monotonic() - self._saved >= SAVE_EVERY:
                self._save()

    def end(self) -> None:
        """Writes the file, if there is one, for the last time: threads that an interrupt left behind do not."""
        with self._guard:
            self._save()
            self._ended = True

    def remove(self) -> None:
        """Removes the file: the check is complete."""
        if self._path is not None:
            for path in (self._path, self._path.with_name(self._scratch)):
                path.unlink(missing_ok=True)

    @property
    def _scratch(self) -> str:
        # Always the same name: what a killed process left is written over.
        return f"{self._path.name}.tmp" if self._path else ""

    def _save(self) -> None:
        if self._ended:
            return
        self._saved = time.monotonic()
        last = self._order[self._low - 1] if self._low else b""
        # Until what newer versions need below the old mark is done, too, the old mark is what holds.
        if self._low == len(self._order) or last >= self._before:
            self.state.watermark = max(last, self._before).hex()
            self.state.versions = self._versions
            self.state.checked, self.state.size, self.state.wire = self._counts
        if self._path is not None:
            folder = Path(os.path.abspath(self._path)).parent
            with Directory.open(folder, create=False) as opened:
                with opened.file(self._scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as fd:
                    write_all(fd, msgspec.json.encode(self.state))
                    sync(fd)
                opened.rename(self._scratch, opened, self._path.name)
