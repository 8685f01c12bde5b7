"""A store with two versions of one model, which the commands under test read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

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
        variables = {"CAS_STORE": self.url, "HF_HUB_CACHE": str(self.cache)}
        return run_cas(*words, env={**variables, **env})

    def json(self, *words: str) -> Any:
        """Run a command, check that it succeeds, and return its one JSON document."""
        done = self.cas("--json", *words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A directory store with two versions of `m`, the first of which is tagged v1."""
    tree = write_tree(tmp_path / "tree", FILES)
    url = str(tmp_path / "store")
    v1 = publish_tree(url, tree, tags=["v1", "latest"]).reference
    write_tree(tree, {"config.json": b'{"new": 1}'})
    latest = publish_tree(url, tree).reference
    return Shop(url, v1, latest, tmp_path / "cache/hub")
