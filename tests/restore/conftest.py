"""Nothing outlives its test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cas import folder
from tests.restore.helpers import end_started


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    """Ends what a failed test left running."""
    yield
    end_started()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of every read of a model's bytes made to find out what is where."""
    seen: list[int] = []
    real = folder.read_at

    def read_at(fd: int, view: memoryview, offset: int) -> int:
        seen.append(len(view))
        return real(fd, view, offset)

    monkeypatch.setattr("cas.survey.read_at", read_at)
    return seen
