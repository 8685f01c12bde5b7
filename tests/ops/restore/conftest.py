"""Versions to restore, a volume that has the old one, and a record of what is read from the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas.local import fs
from cas.store.store import Store
from tests.ops.restore.folders import FILES, OTHER
from tests.ops.restore.versions import Versions, model
from tests.support.models import KIB, REPO, noise, put_model


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of every read of a model's bytes made to find out what is where."""
    seen: list[int] = []
    real = fs.read_at

    def read_at(fd: int, view: memoryview, offset: int) -> int:
        seen.append(len(view))
        return real(fd, view, offset)

    monkeypatch.setattr("cas.local.scan.read_at", read_at)
    return seen


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    """A model of which two tensors of seven changed."""
    old = {"model.safetensors": model(), "sub/vocab.txt": noise(3 * KIB, 5), "config.json": b"{}"}
    return Versions(tmp_path, old, {**old, "model.safetensors": model(0.4), "config.json": b"{1}"})


@pytest.fixture
def volume(versions: Versions) -> Path:
    """Another HF_HOME, with the old version."""
    versions.restore("old", cache_dir=versions.root / "volume/hf/hub")
    return versions.root / "volume/hf/hub"


@pytest.fixture
def folder(directory_store: Store, tmp_path: Path) -> Path:
    """A folder that does not exist yet; the store has the model `m` for it, and `other`."""
    put_model(directory_store, {REPO: FILES})
    put_model(directory_store, {"org/other": OTHER}, model="other")
    return tmp_path / "folder"
