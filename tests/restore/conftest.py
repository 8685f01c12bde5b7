"""Nothing outlives its test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.restore.helpers import end_started


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    """Ends what a failed test left running."""
    yield
    end_started()
