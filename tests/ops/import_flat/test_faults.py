"""`cas import-flat` over a bad network, killed, or from a source that changes: the right bytes, or one clear error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import cas
from cas import refs
from cas.bucket import open_bucket
from cas.errors import CacheError, DiskFull, InputError, StoreError
from cas.local.locks import Lock
from cas.ops.import_flat import fetch, importer
from cas.store.store import open_store
from tests.support.buckets import HURRIED
from tests.support.faults import ONCE_DAMAGED
from tests.support.flat import FOLDER, Flat
from tests.support.models import read_tree, snapshot
from tests.support.planted import PLANTS, plant
from tools.servers.fault_proxy import Fault, FaultProxy
from tools.servers.fault_proxy import Kind as Faulty

AT = f"{FOLDER}/snapshots/{'d' * 40}"
FILES = {"a.bin": b"\0" + os.urandom(70_000), "z.bin": b"\0" + os.urandom(17 * 1024 * 1024)}


@pytest.fixture
def flat(proxy: FaultProxy, s3_url: str, tmp_path: Path) -> Flat:
    """A snapshot of FILES and their blobs in a bucket behind the proxy."""
    from hashlib import sha256

    flat = Flat(s3_url.removesuffix("cas") + "models", str(tmp_path / "store"), tmp_path)
    flat.put({f"{AT}/{path}": data for path, data in FILES.items()})
    flat.put({f"{FOLDER}/blobs/{sha256(data).hexdigest()}": data for data in FILES.values()})
    proxy.requests.clear()
    return flat


@pytest.fixture
def local(tmp_path: Path) -> Flat:
    """A snapshot of FILES in a folder."""
    flat = Flat(str(tmp_path / "models"), str(tmp_path / "store"), tmp_path)
    flat.put({f"{AT}/{path}": data for path, data in FILES.items()})
    return flat


def check(flat: Flat, tmp_path: Path) -> None:
    assert read_tree(snapshot(cas.restore("m", flat.store, cache_dir=tmp_path / "hub"))) == FILES


@pytest.mark.parametrize("kind", [*ONCE_DAMAGED, Faulty.STATUS, Faulty.DROP_BEFORE, Faulty.DROP_RESPONSE])
def test_what_is_damaged_on_its_way_is_asked_for_again(
    flat: Flat, proxy: FaultProxy, tmp_path: Path, kind: Faulty
) -> None:
    for name in FILES:
        proxy.inject(Fault(kind, path_contains=name))
    done = flat.run()
    assert done.returncode == 0, done.stderr
    assert proxy.count("GET", "a.bin") == 2
    check(flat, tmp_path)


def test_a_server_without_ranges_is_named(flat: Flat, proxy: FaultProxy) -> None:
    proxy.inject(Fault(Faulty.IGNORE_RANGE, times=None, path_contains=".bin"))
    with pytest.raises(StoreError, match=r"z\.bin .* sent something else than the part that was asked for"):
        open_bucket(flat.source, HURRIED).get_range(f"{AT}/z.bin", 5, 5)


def test_a_killed_import_goes_on_where_it_was(flat: Flat, proxy: FaultProxy, tmp_path: Path) -> None:
    proxy.inject(Fault(Faulty.STALL, path_contains="z.bin"))
    work = tmp_path / "work"
    words = ["import-flat", flat.source, "m", "--cache-dir", str(work)]
    env = {**os.environ, "CAS_STORE": flat.store}
    with subprocess.Popen([sys.executable, "-m", "cas", *words], env=env, stderr=subprocess.DEVNULL) as process:
        record, deadline = work / ".cas-import/done", time.monotonic() + 30
        halfway = lambda: record.exists() and record.stat().st_size and list(work.glob(".cas-import/*.part"))
        while not halfway() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert list(work.glob(".cas-import/*.part"))
    before = proxy.count("GET", "a.bin")
    done = flat.run("--cache-dir", str(work))
    assert done.returncode == 0, done.stderr
    assert proxy.count("GET", "a.bin") == before == 1
    assert not list(work.glob(".cas-import/*.part"))
    check(flat, tmp_path)


def test_a_source_that_changes_is_not_mixed(local: Flat, tmp_path: Path) -> None:
    planned = importer.plan(local.source)
    local.put({f"{AT}/z.bin": FILES["z.bin"] + b"more"})
    with pytest.raises(StoreError, match=r"z\.bin was written to while it was read"):
        importer.fetch(local.source, planned, tmp_path / "work")


def test_a_piece_of_another_content_is_not_taken(local: Flat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_REQUESTS", 1)
    planned = importer.plan(local.source)
    moved = []

    def listen(event: object) -> None:
        moved.append(event)
        if len(moved) == 3:  # the phase, the small file, the first piece of the large one
            local.put({f"{AT}/z.bin": FILES["z.bin"][::-1]})

    with pytest.raises(StoreError, match=r"z\.bin was written to while it was read"):
        importer.fetch(local.source, planned, tmp_path / "work", on_event=listen)


def test_room_is_asked_for_before_the_first_byte(local: Flat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = sum(map(len, FILES.values()))
    monkeypatch.setattr(fetch, "free_bytes", lambda path: size - 1)
    with pytest.raises(DiskFull, match=f"{size:,} bytes and .* has {size - 1:,} free"):
        importer.fetch(local.source, importer.plan(local.source), tmp_path / "work")
    assert not list((tmp_path / "work").glob("hub"))


def test_two_imports_into_one_folder(local: Flat, tmp_path: Path) -> None:
    work = tmp_path / "work"
    assert local.run("--cache-dir", str(work)).returncode == 0
    lock = Lock(work / ".cas-import/lock")
    assert lock.try_acquire()
    done = local.run("--cache-dir", str(work))
    lock.release()
    assert done.returncode == 7
    assert "another import is at work" in done.stderr
    assert refs.resolve(open_store(local.store), "m")


@pytest.mark.parametrize("what", PLANTS)
@pytest.mark.parametrize("name", ["done", "source", "lock", "0.part"])
def test_what_was_planted_in_the_workspace_ends_the_import_or_is_replaced(
    name: str, what: str, local: Flat, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    planned = importer.plan(local.source)
    importer.fetch(local.source, planned, work)
    plant(what, work / ".cas-import" / name)
    try:
        importer.fetch(local.source, planned, work)
    except (CacheError, InputError) as error:
        assert f"{work}/" in str(error) or f"{work} " in str(error)
        assert str(error).isprintable()
    else:
        assert name in ("lock", "0.part") or "nested" in what or what in ("other types", "no text")


@pytest.mark.parametrize(
    "line", [b"5", b"[1,2,3,4]", b"[[],{},null,7]", b"[" * 9000, b"\xff", b'["a",1,"t","../../x"]']
)
def test_a_line_of_the_record_that_says_nothing_is_left_out(line: bytes, local: Flat, tmp_path: Path) -> None:
    work = tmp_path / "work"
    planned = importer.plan(local.source)
    importer.fetch(local.source, planned, work)
    (work / ".cas-import/done").write_bytes(line + b"\n" + (work / ".cas-import/done").read_bytes())
    importer.fetch(local.source, planned, work)
