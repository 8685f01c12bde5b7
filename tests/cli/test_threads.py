"""Commands whose threads change places after every few instructions: no library crashes at its first use by many.

Each command runs in fresh processes, 3 of each; CAS_RACE_PROCESSES says otherwise (40 before a release).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cas.refs.reference import Reference, log_of
from cas.store.store import Store
from tests.support.models import publish_tree, write_tree
from tests.support.processes import start_cas

_PROCESSES = int(os.environ.get("CAS_RACE_PROCESSES", "3"))

TIGHT = """
import faulthandler, sys
faulthandler.enable()
sys.setswitchinterval(1e-6)
"""


@pytest.fixture
def full(store: Store, tmp_path: Path) -> Store:
    """A store, in a directory and then on S3, with models, tags, pins and chunks for every thread to begin with."""
    for number in range(6):
        files = {f"{name}.bin": os.urandom(300_000) + bytes(200_000) for name in "abcdefgh"}
        tree = write_tree(tmp_path / f"tree-{number}", files)
        digest = publish_tree(store, tree, f"m{number}").reference[-64:]
        for name in ("v1", "v2"):
            log_of(store, Reference(f"m{number}", tag=name)).append(digest, "test")
        log_of(store, Reference(f"m{number}", deployment="eu")).append(digest, "test")
    return store


@pytest.mark.parametrize("words", ["ls", "gc --dry-run", "gc", "restore", "publish"])
def test_many_threads_at_the_first_use(full: Store, tmp_path: Path, words: str) -> None:
    for number in range(_PROCESSES):
        command = words.split()
        if words == "restore":
            command += [f"m{number % 6}", "--cache-dir", str(tmp_path / f"cache-{number}")]
        if words == "publish":
            tree = write_tree(tmp_path / f"new-{number}", {f"{name}.bin": os.urandom(200_000) for name in "abcdefgh"})
            command += [f"new-{number}", "--dir", str(tree), "--as", "org/new"]
        process = start_cas("--store", full.url, *command, before=TIGHT)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
