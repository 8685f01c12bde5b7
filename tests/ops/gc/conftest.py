"""What tests of the collector share: versions that differ, a collector in a hurry, and the truth about a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas.store.store import Store
from tests.support.collecting import Models


@pytest.fixture
def models(store: Store, tmp_path: Path) -> Models:
    """On a directory, then on a real S3 server."""
    return Models(store, tmp_path)


@pytest.fixture
def local(directory_store: Store, tmp_path: Path) -> Models:
    """On a directory only."""
    return Models(directory_store, tmp_path)
