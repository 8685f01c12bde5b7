"""A machine with two restored versions, and what tests of a prune look at."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

import pytest

from cas.store.store import Store
from tests.support.installed import Machine, installed

DAY = 86_400


@pytest.fixture
def machine(directory_store: Store, tmp_path: Path) -> Machine:
    """Both versions are restored: v1 two days ago, v2 yesterday."""
    machine = installed(directory_store, tmp_path / "cache/hub", tmp_path / "published")
    machine.restore("m:v1")
    machine.restore("m:v2")
    used(machine, machine.v1, 2)
    used(machine, machine.v2, 1)
    return machine


def used(machine: Machine, reference: str, days: float) -> None:
    """Say that a version was last used so many days ago."""
    at = datetime.datetime.now(datetime.UTC).timestamp() - days * DAY
    os.utime(machine.hub.joinpath(*machine.register.components(reference), "lock"), (at, at))


def removed(done: Any) -> list[str]:
    return [version.reference for version in done.removed]


def kept(done: Any) -> dict[str, str]:
    return {version.reference: version.reason for version in done.kept}


def files_in(hub: Path) -> set[str]:
    """Everything in a cache but directories and the lock files that stay."""
    found = {path.relative_to(hub).as_posix() for path in hub.rglob("*") if path.is_symlink() or not path.is_dir()}
    return {name for name in found if not name.endswith(".lock") and name != ".locks/.cas/prune/lock"}
