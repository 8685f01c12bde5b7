"""An examination that asks no hub, and a look-alike of S3 whose habits a test chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cas.ops.doctor.examiner import Diagnosis, examine
from cas.ops.doctor.findings import Finding
from cas.ops.doctor.roles import Role
from tests.support.buckets import HURRIED
from tools.servers.habits import HabitServer


class Examination:
    """One examination, by the names of its checks."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        self.diagnosis = diagnosis
        self.by_name = {finding.name: finding for finding in diagnosis.findings}

    def __getitem__(self, name: str) -> Finding:
        return self.by_name[name]

    def status(self, name: str) -> str:
        """Return the status of a check; empty when it was not made."""
        return self.by_name[name].status if name in self.by_name else ""

    @property
    def troubles(self) -> dict[str, str]:
        """The checks that failed or warned, with their status."""
        return {name: one.status for name, one in self.by_name.items() if one.status in ("warning", "failed")}


Examine = Callable[..., Examination]


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Examine:
    """A function that examines a store, for a role or for none."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def call(store: str | None = None, role: Role | None = None, cache: Path | None = None) -> Examination:
        cache_dir = str(cache or tmp_path / "cache")
        return Examination(examine(store, role, cache_dir=cache_dir, policy=HURRIED))

    return call


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Iterator[HabitServer]:
    """A running look-alike of S3, to which the variables of endpoint and key point; its store is s3://bucket/cas."""
    with HabitServer() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        yield server
