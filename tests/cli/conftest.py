"""A store with two versions of one model, which the commands under test read."""

from __future__ import annotations

import functools
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.in_process import call_cas
from tests.support.models import publish_tree, write_tree
from tests.support.processes import run_cas

FILES = {"config.json": b"{}", "weights.bin": b"w" * 5000}


@dataclass
class Shop:
    """A directory store with m:v1 and m:latest, and commands that use it.

    Attributes:
        url: the store's URL.
        v1: exact reference to m:v1.
        latest: exact reference to m:latest.
        cache: the hub cache to restore into, not there yet.
    """

    url: str
    v1: str
    latest: str
    cache: Path

    def cas(self, *words: str, **env: str) -> Any:
        """Call a command in this process."""
        return call_cas(*words, env={**self._variables, **env})

    def run(self, *words: str) -> Any:
        """Run a command in a process of its own: `cas run`, which becomes another program."""
        return run_cas(*words, env=self._variables)

    def json(self, *words: str) -> Any:
        """Run a command, check that it succeeds, and return its one JSON document."""
        done = self.cas("--json", *words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @property
    def _variables(self) -> dict[str, str]:
        return {"CAS_STORE": self.url, "HF_HUB_CACHE": str(self.cache)}


@functools.cache
def _stocked(folder: Path) -> tuple[str, str]:
    """Publish both versions to the store in a folder, and return the references to them."""
    tree = write_tree(folder / "tree", FILES)
    url = str(folder / "store")
    v1 = publish_tree(url, tree, tags=["v1", "latest"]).reference
    write_tree(tree, {"config.json": b'{"new": 1}'})
    return v1, publish_tree(url, tree).reference


@pytest.fixture
def shop(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A directory store with two versions of `m`, the first of which is tagged v1: a copy of one for the whole run."""
    folder = tmp_path_factory.getbasetemp() / "shop"
    v1, latest = _stocked(folder)
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return Shop(str(tmp_path / "store"), v1, latest, tmp_path / "cache/hub")
