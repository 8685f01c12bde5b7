"""What the examination of this machine finds: the cache directory and the way to a hub."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cas.local import fs
from cas.local.locks import Lock
from cas.ops.doctor import machine
from cas.ops.doctor.findings import Findings
from cas.ops.doctor.hub import examine_hub
from cas.store.store import Store
from tests.ops.doctor.conftest import Examine
from tests.support.buckets import slow_store


def test_a_cache_directory_is_left_as_it_was(tmp_path: Path, examined: Examine) -> None:
    (tmp_path / "hub").mkdir()
    found = examined(str(tmp_path / "store"), cache=tmp_path / "hub")
    assert [found.status(name) for name in ("cache", "links", "locks", "room")] == ["ok"] * 4
    assert list((tmp_path / "hub").iterdir()) == []


def test_a_cache_directory_is_not_made(tmp_path: Path, examined: Examine) -> None:
    found = examined(str(tmp_path / "store"), cache=tmp_path / "home" / "hub")
    assert "which the first restore makes" in found["cache"].found
    assert not (tmp_path / "home").exists()


def test_a_cache_below_a_file_cannot_be_written(tmp_path: Path, examined: Examine) -> None:
    (tmp_path / "file").write_bytes(b"")
    found = examined(str(tmp_path / "store"), cache=tmp_path / "file" / "hub")
    assert (found["cache"].status, found["cache"].code, found.diagnosis.exit_code) == ("failed", 7, 7)


def test_no_symlinks_is_a_warning(tmp_path: Path, examined: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", refuse)
    found = examined(str(tmp_path / "store"))
    assert found["links"].status == "warning"
    assert "hard links" in found["links"].found


@pytest.mark.parametrize(("granted", "words"), [(None, "do not work"), (True, "two at once")])
def test_locks_that_keep_nobody_out_are_a_warning(
    tmp_path: Path, examined: Examine, monkeypatch: pytest.MonkeyPatch, granted: bool | None, words: str
) -> None:
    monkeypatch.setattr(Lock, "try_acquire", lambda self: granted)
    found = examined(str(tmp_path / "store"))
    assert found["locks"].status == "warning"
    assert words in found["locks"].found


@pytest.mark.parametrize(("free", "status"), [(0, "failed"), (10**9, "warning"), (10**10, "ok")])
def test_the_room_is_told(
    tmp_path: Path, examined: Examine, monkeypatch: pytest.MonkeyPatch, free: int, status: str
) -> None:
    monkeypatch.setattr(fs, "free_bytes", lambda path: free)
    assert examined(str(tmp_path / "store")).status("room") == status


def test_a_volume_that_does_not_answer_is_told(
    tmp_path: Path, examined: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.BackgroundCall, "ends_within", lambda self, seconds: False)
    found = examined(str(tmp_path / "store"))
    assert (found["cache"].status, found["cache"].code) == ("failed", 7)
    assert "did not answer" in found["cache"].found


def hub_findings(role: str | None = None) -> dict[str, str]:
    findings = Findings(lambda finding: None)
    examine_hub(findings, role)  # type: ignore[arg-type]
    return {finding.name: finding.status for finding in findings.found}


@pytest.mark.parametrize(
    ("variable", "role", "offline"),
    [("HF_HUB_OFFLINE", None, "ok"), ("HF_HUB_OFFLINE", "publisher", "warning"), ("TRANSFORMERS_OFFLINE", None, "ok")],
)
def test_offline_switches_are_told(
    monkeypatch: pytest.MonkeyPatch, variable: str, role: str | None, offline: str
) -> None:
    monkeypatch.setenv(variable, "YES")
    assert hub_findings(role) == {"offline": offline, "hub": "skipped"}


def test_a_hub_that_answers_is_told(monkeypatch: pytest.MonkeyPatch, directory_store: Store) -> None:
    directory_store.create()
    with slow_store(directory_store, 0) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        assert hub_findings() == {"offline": "ok", "hub": "ok"}
    assert hub_findings() == {"offline": "ok", "hub": "warning"}
    assert hub_findings("reader") == {"offline": "ok", "hub": "skipped"}


def test_a_hubs_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://user:secret@127.0.0.1:9")
    findings = Findings(lambda finding: None)
    examine_hub(findings, None)
    assert "secret" not in str(findings.found)
    assert "127.0.0.1:9" in findings.found[-1].found
