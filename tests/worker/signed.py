"""A store whose refs are signed, and boots in the test's own process that trust its key."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from cas.formats.manifest import digest_of
from cas.refs.reference import log_of, parse_reference
from cas.store.store import Store, open_store
from tests.support.in_process import state_restored
from tests.support.keys import KeyFiles, make_key
from tests.support.models import put_model, read_tree
from tests.worker.station import FILES, SPEECH, Station
from worker.boot.messages import Ended, Restored
from worker.boot.settings import Settings
from worker.model.recorder import Recorder
from worker.model.source_chain import SourceChain

VOCABULARY = "F5TTS_v1_Base/vocab.txt"


def release(name: str) -> dict[str, dict[str, bytes]]:
    """Return the files of a release, which differ in one small file."""
    return {**FILES, SPEECH: {**FILES[SPEECH], VOCABULARY: f"{name}\n".encode()}}


class Booted(NamedTuple):
    """How a boot in this process ended. restored: its message; recorder: its warnings and errors."""

    restored: Restored
    recorder: Recorder

    @property
    def number(self) -> int | None:
        """The number of the entry that named the version."""
        return self.restored.signed and self.restored.signed.number


class SignedStation:
    """A station's store with signed releases, and workers that trust the key.

    Attributes:
        station: where the workers boot.
        key: what releases are signed with.
    """

    def __init__(self, station: Station, key: KeyFiles) -> None:
        self.station, self.key = station, key

    def store(self, key: KeyFiles | None = None) -> Store:
        """Return the store as somebody opens it who signs with this key, and trusts it; None signs nothing."""
        store = open_store(self.station.store)
        if key:
            store.signer = key.secret
        return store

    def release(self, name: str, *refs: str, key: KeyFiles | None = None) -> str:
        """Store a version and have refs name it, signed by the station's key or another; return its digest (64 hex)."""
        store = self.store(key or self.key)
        digest = digest_of(put_model(store, release(name), model="f5-tts", tag="stored", chunk=1 << 20))
        self.move(digest, *refs or ("f5-tts:latest",), key=key or self.key)
        return digest

    def move(self, digest: str | None, *refs: str, key: KeyFiles | None = None) -> None:
        """Have refs name a version; without a key nobody signs that."""
        for ref in refs:
            log_of(self.store(key), parse_reference(ref)).append(digest, "release")

    def variables(self, **env: str) -> dict[str, str]:
        """Return the variables of a worker that trusts the station's key."""
        return {**self.station.variables(), "CAS_TRUSTED_KEYS": str(self.key.public), "CAS_RECEIPT": "false", **env}

    def walk(self, *directories: Path, **env: str) -> Booted:
        """Boot in this process, as the restoring process does; raises the error that ends a boot.

        Not for a boot that asks a hub: its client keeps the first URL that it was given.
        """
        paths, recorder, found = directories or self.station.directories, Recorder(), list[Restored]()
        with state_restored(), _clients_constants():
            _replace(os.environ, self.variables(**env))
            for path in paths:
                path.mkdir(parents=True, exist_ok=True)
            chain = SourceChain(Settings.read(), paths, recorder, lambda: Ended(()), lambda files, version: None)
            chain.walk(found.append)
        return Booted(found[0], recorder)


@contextlib.contextmanager
def _clients_constants() -> Iterator[None]:
    """Restore what a boot sets in huggingface_hub, where another test has imported that."""
    constants = sys.modules.get("huggingface_hub.constants")
    before = dict(vars(constants)) if constants else {}
    try:
        yield
    finally:
        if constants:
            vars(constants).update(before)


def runs(booted: Booted, name: str) -> bool:
    """Return whether a boot brought the files of this release."""
    return read_tree(Path(booted.restored.snapshots[SPEECH])) == release(name)[SPEECH]


def _replace(environ: os._Environ[str], variables: Mapping[str, str]) -> None:
    environ.update({name: value for name, value in variables.items() if value})
    for name, value in variables.items():
        if not value:
            environ.pop(name, None)


@pytest.fixture
def signed(station: Station, tmp_path: Path) -> Iterator[SignedStation]:
    """A store with one signed release, which `f5-tts:latest` names; the hub has something else as main."""
    made = SignedStation(station, make_key(tmp_path / "keys", "release"))
    made.release("one")
    yield made
