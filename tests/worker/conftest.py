"""What the worker's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def this_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that a test starts import this clone: the worker's environment is shared, so it holds none."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent.parent))
