"""Several at once in one cache: restores with locks, restores without, and huggingface_hub."""

from __future__ import annotations

from pathlib import Path

import pytest

import cas
from cas.store.store import Store
from tests.support.buckets import slow_store
from tests.support.hub import HUBS, check_offline, start_hub
from tests.support.models import KIB, REPO, check, check_blobs, noise, put_model, read_tree, snapshot, write_tree
from tests.support.processes import outcomes, start_cas, until
from tools.servers.hub import Hub

FILES = {f"{seed}.bin": noise(400 * KIB, seed) for seed in range(6)} | {"twin.bin": noise(400 * KIB, 1), "e": b""}
TOTAL = 6 * 400 * KIB

# Every way in which flock was seen to fail on network volumes.
BROKEN_LOCKS = {
    "nothing": "import fcntl; fcntl.flock = lambda fd, how: None",
    "failing": "import fcntl, errno\ndef flock(fd, how): raise OSError(errno.ENOLCK, 'No locks available')\n"
    "fcntl.flock = flock",
    "hanging": "import fcntl, threading; fcntl.flock = lambda fd, how: threading.Event().wait()\n"
    "import cas.local.locks; cas.local.locks._CALL_TIMEOUT = 0.2",
}


def test_eight_restores_make_one_download(directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {REPO: FILES}, {"torch/x": noise(100 * KIB, 9)})
    words = ("--store", directory_store.url, "--json", "restore", "m", "--cache-dir", str(tmp_path / "home/hub"))
    restored = outcomes([start_cas(*words) for _ in range(8)])
    assert sum(one.fetched for one in restored) == TOTAL + 100 * KIB
    check(restored[0], FILES)
    assert not cas.restore("m", directory_store, cache_dir=tmp_path / "home/hub").changed


@pytest.mark.parametrize("broken", BROKEN_LOCKS)
def test_restores_whose_locks_are_broken_all_end_right(broken: str, directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {REPO: FILES})
    cache = tmp_path / "cache"
    exact = cas.restore("m", directory_store, cache_dir=cache, dry_run=True).reference
    with slow_store(directory_store, limit=25) as server:
        words = ("--store", server.url, "--json", "restore", exact, "--cache-dir", str(cache))
        processes = [start_cas(*words, before=BROKEN_LOCKS[broken])]
        until(lambda: server.stalling)
        # They find part files that look abandoned, and are not.
        processes += [start_cas(*words, before=BROKEN_LOCKS[broken]) for _ in range(3)]
        until(lambda: server.chunks > 25 + 16 + 16)
        server.released.set()
        restored = outcomes(processes)
    check(restored[0], FILES)
    assert not cas.restore("m", directory_store, cache_dir=cache).changed


def test_a_stuck_holder_of_the_lock_delays_nobody_for_ever(directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {REPO: FILES})
    exact = cas.restore("m", directory_store, cache_dir=tmp_path, dry_run=True).reference
    with slow_store(directory_store, limit=4) as server:
        holder = start_cas("--store", server.url, "--json", "restore", exact, "--cache-dir", str(tmp_path))
        until(lambda: server.stalling)
        words = ("--store", directory_store.url, "--json", "restore", "m", "--cache-dir", str(tmp_path))
        (second,) = outcomes([start_cas(*words, before="import cas.local.locks; cas.local.locks._STUCK_AFTER = 0.5")])
        check_blobs(tmp_path / "models--org--model")
        assert read_tree(snapshot(second)) == FILES
        assert second.fetched < TOTAL, "what the holder has verified need not be fetched"
        server.released.set()
        (first,) = outcomes([holder])
    check(first, FILES)
    assert cas.restore("m", directory_store, cache_dir=tmp_path).fetched == 0


def test_a_restore_waits_for_another_and_fetches_nothing(directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {REPO: FILES})
    exact = cas.restore("m", directory_store, cache_dir=tmp_path, dry_run=True).reference
    with slow_store(directory_store, limit=4) as server:
        holder = start_cas("--store", server.url, "--json", "restore", exact, "--cache-dir", str(tmp_path))
        until(lambda: server.stalling)
        words = ("--store", directory_store.url, "--json", "-v", "restore", "m", "--cache-dir", str(tmp_path))
        waiting = start_cas(*words)
        assert waiting.stderr is not None
        assert "waiting for it" in waiting.stderr.readline()
        server.released.set()
        first, second = outcomes([holder, waiting])
    assert (first.fetched, second.fetched) == (TOTAL, 0)
    check(second, FILES)


@pytest.mark.parametrize("version", HUBS)
def test_beside_a_download_of_huggingface_hub_both_end_right(
    version: str, directory_store: Store, tmp_path: Path
) -> None:
    write_tree(tmp_path / "hub" / REPO, FILES)
    cache = tmp_path / "cache"
    with Hub(tmp_path / "hub") as hub:
        out, err = start_hub(version, REPO, tmp_path / "first", hub.url).communicate(timeout=60)
        assert out, err
        cas.publish("m", cas.Source.from_repos([REPO]), directory_store, cache_dir=tmp_path / "first", download=False)
        hub.bytes_per_second = 600 * KIB
        downloading = start_hub(version, REPO, cache, hub.url)
        until(lambda: list(cache.glob("models--org--model/blobs/*.incomplete")))
        restored = cas.restore("m", directory_store, cache_dir=cache)
        assert read_tree(snapshot(restored)) == FILES
        out, err = downloading.communicate(timeout=60)
    assert out.strip() == str(snapshot(restored)), err
    check(cas.restore("m", directory_store, cache_dir=cache), FILES)
    check_offline(cache, FILES, versions=(version,))
