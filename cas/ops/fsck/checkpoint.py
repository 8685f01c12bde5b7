"""How far a check has come, in a file, so that a large store can be checked in several sittings."""

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
from cas.formats.typed_json import JsonFormat, T
from cas.local.directory import Directory
from cas.local.fs import read_bounded, sync, write_all
from cas.ops.fsck.damage import Defect
from cas.ops.fsck.shard import Shard

SAVE_EVERY = 5.0
"""Seconds between two writes of the file."""

_VERSION = 1
_MAX_SIZE = 256 * 1024 * 1024  # bytes: over a million damaged chunks


class Checkpoint(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a check knows so far: the content of the file.

    Attributes:
        version: of this format.
        store: URL of the store.
        scope: what is checked, None for the whole store.
        sample: the share of the chunks that is checked, 1 for all.
        shard: which of several machines' shares is checked, such as `3/16`; left out for all.
        seed: decides which chunks are in the sample.
        versions: digests (64 hex) of the versions whose chunks up to `watermark` are all checked.
        watermark: a digest (64 hex), empty while no chunk is checked.
        checked: how many chunks are checked.
        size: plain bytes of those.
        wire: bytes that were fetched for those.
        found: the defects found, by digest of the chunk (64 hex).
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
    found: dict[str, Defect] = {}
    shard: str | msgspec.UnsetType = msgspec.UNSET


_CHECKPOINTS = JsonFormat[Checkpoint](Checkpoint)


def load_checkpoint(
    path: Path, store: str, scope: str | None, sample: float, shard: Shard | None = None
) -> Checkpoint | None:
    """Read the checkpoint of a check from a file, or return None if there is no such file.

    Args:
        path: of the file.
        store: the URL that the check is of; `scope` and `sample` likewise.
        scope: as in `Checkpoint`.
        sample: as in `Checkpoint`.
        shard: as in `Checkpoint`; None for all.

    Raises:
        InputError: the file is of another check, or no checkpoint at all.
    """
    if (checkpoint := read_state(_CHECKPOINTS, path, _MAX_SIZE, "cas fsck")) is None:
        return None
    wanted = store, scope, sample, msgspec.UNSET if shard is None else str(shard)
    if (checkpoint.store, checkpoint.scope, checkpoint.sample, checkpoint.shard) != wanted:
        share = "" if checkpoint.sample == 1 else f" --sample {checkpoint.sample:.6%}"
        share += f" --shard {checkpoint.shard}" if checkpoint.shard else ""
        scope_words = f" {checkpoint.scope}" if checkpoint.scope else ""
        raise InputError(
            f"{path} is of another check, `cas --store {checkpoint.store} fsck{scope_words}{share}`: finish that, "
            "remove the file, or name another --state"
        )
    return checkpoint


class Progress:
    """Advances the checkpoint of a running check, and saves it to the file now and then.

    Attributes:
        checkpoint: what is known so far.
    """

    def __init__(self, checkpoint: Checkpoint, path: Path | None) -> None:
        """Go on from a checkpoint; without a path nothing is saved."""
        self.checkpoint, self._path = checkpoint, path
        self._guard = threading.Lock()
        self._order: Sequence[bytes] = ()
        self._versions: tuple[str, ...] = ()
        self._before = bytes.fromhex(checkpoint.watermark)
        self._low = 0  # all chunks of the order below this index are checked
        self._ended = False
        self._done: dict[int, tuple[int, int]] = {}
        self._counts = (checkpoint.checked, checkpoint.size, checkpoint.wire)
        self._saved = time.monotonic()

    def begin(self, order: Sequence[bytes], versions: Sequence[str]) -> None:
        """Start to check chunks, and save for the first time.

        Args:
            order: the chunks that remain to be checked, sorted by digest (32 bytes).
            versions: digests (64 hex) of the versions that need these, or needed chunks checked before.
        """
        self._order, self._versions = order, tuple(versions)
        for digest in order if self.checkpoint.found else ():
            self.checkpoint.found.pop(digest.hex(), None)  # this chunk is checked again
        with self._guard:
            self._save()

    def done(self, index: int, defect: Defect | None, size: int, wire: int) -> None:
        """Record that a chunk is checked.

        Args:
            index: of the chunk in the order.
            defect: what is wrong with it.
            size: its plain bytes.
            wire: bytes that were fetched for it.
        """
        with self._guard:
            if defect is not None:
                self.checkpoint.found[self._order[index].hex()] = defect
            self._done[index] = (size, wire)
            while self._low in self._done:
                size, wire = self._done.pop(self._low)
                chunks, total, moved = self._counts
                self._counts = (chunks + 1, total + size, moved + wire)
                self._low += 1
            if time.monotonic() - self._saved >= SAVE_EVERY:
                self._save()

    def end(self) -> None:
        """Save for the last time; threads that an interrupt leaves behind save no more after this."""
        with self._guard:
            self._save()
            self._ended = True

    def remove(self) -> None:
        """Remove the file, because the check is complete."""
        if self._path is not None:
            remove_file(self._path)

    def _save(self) -> None:
        if self._ended:
            return
        self._saved = time.monotonic()
        last = self._order[self._low - 1] if self._low else b""
        # The order may start below the old watermark, with chunks that newer versions need. The old watermark holds
        # until those are checked, too.
        if self._low == len(self._order) or last >= self._before:
            self.checkpoint.watermark = max(last, self._before).hex()
            self.checkpoint.versions = self._versions
            self.checkpoint.checked, self.checkpoint.size, self.checkpoint.wire = self._counts
        if self._path is not None:
            replace_file(self._path, _CHECKPOINTS.encode(self.checkpoint))


def replace_file(path: Path, data: bytes) -> None:
    """Write a file of a check's state, whole or not at all."""
    scratch = _scratch(path)
    with Directory.open(Path(os.path.abspath(path)).parent, create=False) as opened:
        with opened.file(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as fd:
            write_all(fd, data)
            sync(fd)
        opened.rename(scratch, opened, path.name)


def remove_file(path: Path) -> None:
    """Remove a file that `replace_file` wrote, and what a killed process left beside it."""
    for each in (path, path.with_name(_scratch(path))):
        each.unlink(missing_ok=True)


def _scratch(path: Path) -> str:
    # The name is always the same, so that a file that a killed process left is written over.
    return f"{path.name}.tmp"


def read_state(states: JsonFormat[T], path: Path, limit: int, command: str) -> T | None:
    """Return the document in a file of --state; None when there is no file.

    Args:
        states: the type of the document.
        path: the file.
        limit: bytes that it has at most.
        command: whose state it is, named in errors.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    try:
        return states.decode(read_bounded(path, limit))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): remove it, or name another --state") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} is no state of this version of `{command}` ({error}): remove it, or name another --state"
        ) from None
