"""A restore that dies, at any step and by any means, leaves nothing that is not whole, and its successor goes on."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

import cas
from cas.store.store import Store
from tests.support.buckets import slow_store
from tests.support.models import KIB, REPO, check, check_blobs, noise, put_model
from tests.support.processes import die_at, start_cas, until

FILES = {
    "model.bin": noise(300 * KIB, 1),
    "sub/second.bin": noise(200 * KIB, 2),
    "copy.bin": noise(200 * KIB, 2),
    "config.json": noise(2 * KIB, 3),
    "empty": b"",
}
TOTAL = 502 * KIB

POINTS = 25


def test_sigkill_at_any_step(directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {REPO: FILES})
    whole = die_at(0, directory_store, tmp_path / "whole")
    steps = int(whole.stderr.rpartition("steps ")[2])
    assert steps > 80
    reused = 0
    for step in range(steps // POINTS, steps, steps // POINTS):
        cache = tmp_path / str(step)
        assert die_at(step, directory_store, cache).returncode == -signal.SIGKILL
        check_blobs(cache / "models--org--model")
        restored = cas.restore("m", directory_store, cache_dir=cache)
        check(restored, FILES)
        reused += restored.fetched < TOTAL
    assert reused > POINTS / 2


def test_a_restore_killed_again_and_again_ends(directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {REPO: FILES})
    cache = tmp_path / "cache"
    deaths = 0
    while die_at(45, directory_store, cache).returncode == -signal.SIGKILL:
        check_blobs(cache / "models--org--model")
        deaths += 1
    assert deaths > 1
    restored = cas.restore("m", directory_store, cache_dir=cache)
    check(restored, FILES)
    assert not restored.changed


def test_what_had_arrived_is_not_fetched_again(directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {REPO: FILES})
    exact = cas.restore("m", directory_store, cache_dir=tmp_path, dry_run=True).reference
    with slow_store(directory_store, limit=6) as server:
        process = start_cas("--store", server.url, "restore", exact, "--cache-dir", str(tmp_path))
        until(lambda: server.stalling and len(arrived(tmp_path)) == 6)
        process.kill()
        process.communicate()
    there = arrived(tmp_path)
    check_blobs(tmp_path / "models--org--model")
    restored = cas.restore("m", directory_store, cache_dir=tmp_path)
    check(restored, FILES)
    assert restored.fetched == TOTAL - sum(map(len, there))


def arrived(cache: Path) -> set[bytes]:
    """The chunks of the model that have come to this cache."""
    held = [path.read_bytes() for path in cache.glob("models--org--model/blobs/*")]
    held += [path.read_bytes() for path in cache.glob("models--org--model/.cas/parts/*")]
    pieces = {data[at : at + 64 * KIB] for data in FILES.values() for at in range(0, len(data), 64 * KIB)}
    return {piece for piece in pieces if piece and any(piece in data for data in held)}


@pytest.mark.parametrize("limit", [0, 3])
def test_an_interrupt_ends_it_at_once_and_says_how_to_go_on(limit: int, directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {REPO: FILES})
    exact = cas.restore("m", directory_store, cache_dir=tmp_path, dry_run=True).reference
    with slow_store(directory_store, limit) as server:
        process = start_cas("--store", server.url, "restore", exact, "--cache-dir", str(tmp_path))
        until(lambda: server.stalling)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert time.monotonic() - begun < 5
    assert process.returncode == 130
    assert out == ""
    assert (
        err == "cas: interrupted; nothing half-done is visible. Run the same command again to go on where it stopped\n"
    )
    check_blobs(tmp_path / "models--org--model")
    check(cas.restore("m", directory_store, cache_dir=tmp_path), FILES)
