"""A plan fits on a disk, or not: roots on one disk share it, and what can be cloned needs no space."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas.errors import DiskFull
from cas.local import fs
from cas.local.targets import Target
from cas.ops.restore.disk_space import check_free_space
from cas.ops.restore.plan import PendingFile, Plan


def plan(needed_space: dict[Path, int], *pending: PendingFile) -> Plan:
    return Plan((), (), pending, (), (), needed_space)


def fits(plan: Plan) -> bool:
    try:
        check_free_space(plan)
    except DiskFull:
        return False
    return True


@pytest.fixture(autouse=True)
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file system has 1000 free bytes."""
    monkeypatch.setattr(fs, "free_bytes", lambda path: 1000)


@pytest.mark.parametrize(("size", "expected"), [(999, True), (1000, True), (1001, False)])
def test_a_disk_holds_what_it_has_room_for(size: int, expected: bool, tmp_path: Path) -> None:
    assert fits(plan({tmp_path / "to/come": size})) is expected


@pytest.mark.parametrize(("sizes", "expected"), [((500, 500), True), ((500, 501), False), ((999, 2), False)])
def test_roots_on_one_disk_share_it(sizes: tuple[int, int], expected: bool, tmp_path: Path) -> None:
    assert fits(plan({tmp_path / f"{number}": size for number, size in enumerate(sizes)})) is expected


@pytest.mark.parametrize("clones", [True, False])
@pytest.mark.parametrize(("shared", "expected"), [(200, True), (199, False)])
def test_what_is_cloned_needs_no_space(
    shared: int, expected: bool, clones: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fs, "can_clone", lambda source, beside: clones)
    target = Target(tmp_path, ("blobs", "a"), (), 1200, (), "a" * 64, None)
    pending = PendingFile(target, None, 1, tmp_path / "base", shared)
    assert fits(plan({tmp_path: 1200}, pending)) is (expected and clones)
