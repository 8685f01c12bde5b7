"""Fixtures of the collector's tests: stores to publish to and to collect in."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas.store.store import Store
from tests.support.collecting import Models


@pytest.fixture
def models(store: Store, tmp_path: Path) -> Models:
    """A store in a directory, then one on a real S3 server."""
    return Models(store, tmp_path)


@pytest.fixture
def local(directory_store: Store, tmp_path: Path) -> Models:
    """A store in a directory only."""
    return Models(directory_store, tmp_path)
