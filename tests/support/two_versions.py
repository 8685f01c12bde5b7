"""A store with two versions of one model, and one lock file of the first."""

from __future__ import annotations

import functools
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cas
from cas.bucket import open_bucket
from cas.formats.digest import parse
from cas.store.store import Store
from tests.support.in_process import call_cas
from tests.support.models import publish_tree, write_tree
from tests.support.processes import run_cas

OLD = {"model.bin": b"w" * 300_000, "config.json": b"{}"}
NEW = {**OLD, "config.json": b'{"new": 1}'}


@dataclass
class Boot:
    """A store in which m:v1 consists of OLD, and m:latest of NEW.

    Attributes:
        store: the store.
        old: reference to the old version.
        new: reference to the new version.
        lock: a lock file of the old version.
        cache: an empty hub cache.
    """

    store: Store
    old: str
    new: str
    lock: Path
    cache: Path

    def cas(self, *words: str, **env: str) -> Any:
        """Call a command in this process."""
        return call_cas(*words, env={**self._variables, **env})

    def run(self, *words: str, **env: str) -> Any:
        """Run a command in a process of its own: `cas run`, or one whose start is looked at."""
        return run_cas(*words, env={**self._variables, **env})

    def json(self, *words: str, **env: str) -> Any:
        """Run a command, check that it succeeds, and return its one JSON document."""
        done = self.cas("--json", *words, **env)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @property
    def _variables(self) -> dict[str, str]:
        return {"CAS_STORE": self.store.url, "HF_HUB_CACHE": str(self.cache)}

    @property
    def old_digest(self) -> str:
        """The digest of the old version (64 hex)."""
        return parse(self.old.partition("@")[2])


def boot_at(store: Store, folder: Path) -> Boot:
    """Publish both versions to a store, and write the lock file below `folder`."""
    tree = write_tree(folder / "tree", OLD)
    old = publish_tree(store, tree, tags=["v1", "latest"]).reference
    write_tree(tree, NEW)
    new = publish_tree(store, tree).reference
    lock = folder / "m.json"
    cas.write_lock("m:v1", store, lock)
    return Boot(store, old, new, lock, folder / "cache/hub")


@functools.cache
def _published_once(folder: Path) -> Boot:
    return boot_at(Store(open_bucket(str(folder / "store"))), folder)


def copied_boot(store: Store, folder: Path, original: Path) -> Boot:
    """Return what `boot_at` would return for an empty directory store, as a copy with the times of its objects.

    Args:
        store: the store in `folder` / "store".
        folder: where to copy to.
        original: a folder for the whole run, in which the versions are published by the first call.
    """
    made = _published_once(original)
    shutil.copytree(original, folder, dirs_exist_ok=True)
    return Boot(store, made.old, made.new, folder / made.lock.name, folder / "cache/hub")
