"""A store in which m has three versions, published one after the other."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cas.bucket import open_bucket
from cas.formats.digest import named
from cas.refs.reference import log_of, parse_reference
from cas.refs.reflog import RefLog
from cas.store.store import Store
from tests.support.in_process import call_cas
from tests.support.models import publish_tree, write_tree


@dataclass
class Desk:
    """A store: the tag m:latest has named each of `versions` (64 hex), oldest first; `other` is a second model."""

    url: str
    versions: tuple[str, str, str]
    cache: Path

    def cas(self, *words: str) -> subprocess.CompletedProcess[str]:
        return call_cas(*words, env={"CAS_STORE": self.url, "HF_HUB_CACHE": str(self.cache)})

    def done(self, *words: str) -> str:
        """Run a command that must succeed, and return what it prints."""
        done = self.cas(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.done("--json", *words))

    def refused(self, code: int, *words: str) -> str:
        """Run a command that must fail with that exit code, and return the one line of its error."""
        done = self.cas(*words)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        (line,) = done.stderr.splitlines()
        assert line.startswith("cas: ")
        return line

    @property
    def store(self) -> Store:
        return Store(open_bucket(self.url))

    def log(self, ref: str) -> RefLog:
        return log_of(self.store, parse_reference(ref))

    def names(self, ref: str) -> str | None:
        """Return the digest (64 hex) that a ref names now; None for none."""
        return self.log(ref).current_digest()

    def exact(self, number: int) -> str:
        return f"m@{named(self.versions[number])}"


def stock(url: str, folder: Path) -> Desk:
    """Publish three versions of m and one of `other` to a store."""
    digests = []
    for number in range(3):
        tree = write_tree(folder / "tree", {"weights.bin": b"w" * 3000, "number": b"%d" % number})
        digests.append(publish_tree(url, tree).reference[-64:])
    publish_tree(url, write_tree(folder / "other", {"x": b"x"}), "other")
    first, second, third = digests
    return Desk(url, (first, second, third), folder / "cache/hub")


@pytest.fixture
def store(directory_store: Store) -> Store:
    """An empty store in a directory."""
    directory_store.create()
    return directory_store


@functools.cache
def _stocked(folder: Path) -> Desk:
    return stock(str(folder / "store"), folder)


@pytest.fixture
def desk(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A copy of a store that is published once in a run, with the times of its objects."""
    folder = tmp_path_factory.getbasetemp() / "desk"
    made = _stocked(folder)
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return Desk(str(tmp_path / "store"), made.versions, tmp_path / "cache/hub")
