"""What the tests of publishing share: the reads of files."""

from __future__ import annotations

import pytest

from cas.local import fs


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the pieces that a publish reads from files, in bytes."""
    seen: list[int] = []

    def counting(fd: int, view: memoryview, offset: int) -> int:
        seen.append(len(view))
        return fs.read_at(fd, view, offset)

    for module in ("file_reader", "version_1"):
        monkeypatch.setattr(f"cas.ops.publish.{module}.read_at", counting)
    return seen
