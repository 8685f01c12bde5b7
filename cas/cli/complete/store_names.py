"""The names in a store, for completion: read within a bounded time, and kept for a moment.

A shell asks at every press of the key, so what was read of a server is kept on disk for some seconds. A store that does
not answer in time completes nothing, or what it held when it was last read. Nothing here is proof of anything: where
keys are trusted, signatures are looked at when the command runs.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from cas.config import user_directory
from cas.errors import CasError

_PATIENCE = 1.5
"""Seconds that the user waits at most for a store behind a server."""

_PATIENCE_FOR_FOLDER = 15.0
"""Seconds that the user waits at most for a store in a folder, which is slow only where the whole machine is."""

_FRESH = 15.0
"""Seconds for which names count as new."""

_KEPT = 7 * 86400.0
"""Seconds after which names that were kept are not shown any more, even where the store does not answer."""

_REQUESTS = 16


class StoreNames(msgspec.Struct):
    """The names in a store.

    Attributes:
        found_refs: kind (`tags` or `pins`), the ref's two names, and the version it names (64 hex; empty for unknown).
        versions: each version's model and digest (64 hex).
    """

    found_refs: Sequence[tuple[str, str, str, str]] = ()
    versions: Sequence[tuple[str, str]] = ()

    def refs(self, kind: str) -> list[tuple[str, str, str]]:
        """Return the two names of each tag or pin, and its version."""
        return [(first, second, digest) for of_kind, first, second, digest in self.found_refs if of_kind == kind]

    def models(self) -> list[str]:
        """Return the models, sorted."""
        return sorted({model for model, _ in self.versions})

    def tags(self) -> list[tuple[str, str]]:
        """Return `model:tag` of each tag, and the first digits of its version."""
        return [(f"{model}:{tag}", digest[:12]) for model, tag, digest in self.refs("tags")]

    def pins(self) -> list[tuple[str, str]]:
        """Return `pin:deployment/model` of each pin, and the first digits of its version."""
        return [(f"pin:{owner}/{model}", digest[:12]) for owner, model, digest in self.refs("pins")]


_NAMES = msgspec.json.Decoder(StoreNames)
_encode = msgspec.json.Encoder().encode


def names_of(store: str | None) -> StoreNames:
    """Return the names in a store, none where they cannot be had in time. Nothing is written to the store.

    Args:
        store: what --store says; None for the default store.
    """
    from cas.store.choice import store_url

    try:
        url = store_url(store)
    except CasError:
        return StoreNames()
    # A folder answers at once, and its newest names are wanted.
    kept = _kept_file(url) if "://" in url else None
    old, age = _read_kept(kept)
    if age < _FRESH:
        return old
    reading = _Reading(url)
    reading.thread.join(_PATIENCE if "://" in url else _PATIENCE_FOR_FOLDER)
    if reading.is_complete:
        _keep(kept, reading.names)
    return reading.names if reading.is_complete or not old.versions else old


class _Reading:
    """Reads the names in a store, in a thread that ends with the process.

    Attributes:
        names: what is known so far: first every ref that was ever set, then those that name a version.
        is_complete: whether all is known.
    """

    def __init__(self, url: str) -> None:
        self.names = StoreNames()
        self.is_complete = False
        self._url = url
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        with contextlib.suppress(Exception):  # whatever is wrong, the command itself says it
            from cas.bucket import open_bucket
            from cas.parallel import BackgroundCall, for_each
            from cas.refs import reflog
            from cas.refs.reflog import Ref, RefLog
            from cas.store.store import Store

            store = Store(open_bucket(self._url))
            listing = BackgroundCall(lambda: sorted(store.list_manifests()))
            logs = reflog.logs(store, is_verified=False)
            versions = [(version.model, version.digest) for version in listing.result()]
            self.names = StoreNames([(*log.ref, "") for log in logs], versions)
            digests: dict[Ref, str | None] = {}

            def read(log: RefLog) -> None:
                digests[log.ref] = ""  # an entry that cannot be read is of a ref all the same
                with contextlib.suppress(CasError):
                    entry = log.current()
                    digests[log.ref] = entry.digest if entry else None

            for_each(read, logs, threads=min(_REQUESTS, len(logs) or 1))
            refs = [(*log.ref, digest) for log in logs if (digest := digests[log.ref]) is not None]
            self.names = StoreNames(refs, versions)
            self.is_complete = True


def _kept_file(url: str) -> Path | None:
    from cas.formats.digest import hex_of

    caches = user_directory("XDG_CACHE_HOME", ".cache")
    return caches / "model-cas/completion" / f"{hex_of(url.encode())[:32]}.json" if caches else None


def _read_kept(file: Path | None) -> tuple[StoreNames, float]:
    """The names that were kept, and their age in seconds; none, and for ever, where there are none."""
    if file is not None:
        with contextlib.suppress(OSError, msgspec.DecodeError):
            age = time.time() - file.stat().st_mtime
            if 0 <= age < _KEPT:
                return _NAMES.decode(file.read_bytes()), age
    return StoreNames(), float("inf")


def _keep(file: Path | None, names: StoreNames) -> None:
    if file is not None:
        with contextlib.suppress(OSError):  # a full disk or a read-only home: read again next time
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            part = file.with_name(f"{file.name}.{os.getpid()}")
            part.write_bytes(_encode(names))
            part.replace(file)
