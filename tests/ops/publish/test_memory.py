"""Memory: the chunks in flight stay within the budget, whatever the size of the model."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import cas
from cas import host
from cas.formats.digest import hex_of
from cas.formats.frame import claimed_size, decode
from cas.host import MIB, Limits
from cas.store.store import Store
from tests.support.models import REPO, publish_tree, write_tree

PEAK = """
import os, re, sys
import cas
from cas.cli.process import keep_memory_together
from cas.host import Limits

keep_memory_together()  # as the command line does
cas.publish("m", cas.Source.from_folder(*sys.argv[1:3]), sys.argv[3], limits=Limits(budget=32 << 20, workers=2))
# getrusage() would count the process that started this one, too: exec keeps its maximum.
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024, flush=True)
os._exit(0)  # as the command line does, and for its reason
"""


def test_bytes_in_flight_stay_within_the_budget(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"".join(os.urandom(1) * (8 * MIB) for _ in range(12))
    tree = write_tree(tmp_path / "tree", {"w.bin": data})
    lock = threading.Lock()
    in_flight = most = 0
    three = threading.Event()
    make_frame, put_frame = Store.make_frame, Store.put_frame
    sizes: dict[str, int] = {}

    def making(digest: str, plain: memoryview, *words: Any) -> bytes:
        nonlocal in_flight, most
        with lock:
            sizes[digest] = len(plain)
            in_flight += len(plain)
            most = max(most, in_flight)
            if in_flight == 24 * MIB:
                three.set()
        return make_frame(digest, plain, *words)

    def putting(self: Store, digest: str, *words: Any, **options: Any) -> None:
        nonlocal in_flight
        three.wait(10)  # the store is slow: frames pile up as far as the budget lets them
        put_frame(self, digest, *words, **options)
        with lock:
            in_flight -= sizes[digest]

    monkeypatch.setattr(Store, "make_frame", staticmethod(making))
    monkeypatch.setattr(Store, "put_frame", putting)
    source = cas.Source.from_folder(tree, REPO)
    cas.publish("m", source, directory_store, limits=Limits(budget=24 * MIB, requests=16, workers=2))
    assert most == 24 * MIB


@pytest.mark.parametrize("lost", [False, True])
def test_a_frame_that_a_cut_request_still_sends_is_not_overwritten(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    tree = write_tree(tmp_path / "tree", {str(number): b"%d" % number * 1000 for number in range(5)})
    sending: dict[str, memoryview] = {}
    put_frame = Store.put_frame

    def cut(self: Store, digest: str, frame: memoryview, **options: Any) -> None:
        sending[digest] = memoryview(frame)
        put_frame(self, digest, frame, **options)

    if lost:  # the chunks are then found missing after all were read, and sent again
        publish_tree(directory_store, tree)
        for entry in directory_store.bucket.list("chunks"):
            directory_store.bucket.delete(entry.key)
        write_tree(tree, {"one more": b"one more"})
    monkeypatch.setattr(Store, "put_frame", cut)
    cas.publish("m", cas.Source.from_folder(tree, REPO), directory_store, limits=Limits(uploads=1))
    assert len(sending) == 5 + lost
    frames = {digest: frame.tobytes() for digest, frame in sending.items()}
    assert all(hex_of(decode(frame, claimed_size(frame))) == digest for digest, frame in frames.items())


@pytest.mark.parametrize("exists", [False, True])
def test_peak_memory_does_not_grow_with_the_model(tmp_path: Path, exists: bool) -> None:
    peaks = []
    noise = os.urandom(8 * MIB - 8)
    for chunks in (24, 60):
        tree = tmp_path / str(chunks)
        tree.mkdir()
        with (tree / "w.bin").open("wb") as file:
            for number in range(chunks):
                file.write(number.to_bytes(8, "little") + noise)
        store = str(tmp_path / f"store-{chunks}")
        if exists:  # every chunk is then looked up
            publish_tree(store, write_tree(tmp_path / "small", {"a": b"a"}), model="other")
        words = [sys.executable, "-c", PEAK, str(tree), REPO, store]
        peaks.append(int(subprocess.run(words, capture_output=True, check=True, timeout=60).stdout))
    assert peaks[1] < peaks[0] + 64
    assert peaks[1] < 300


@pytest.mark.parametrize(
    ("memory", "budget", "workers"), [(None, 256, 8), (16 * 1024, 256, 8), (1024, 128, 4), (512, 64, 2), (256, 32, 1)]
)
def test_small_containers_get_a_small_budget(
    monkeypatch: pytest.MonkeyPatch, memory: int | None, budget: int, workers: int
) -> None:
    monkeypatch.setattr(host, "memory_limit", lambda: None if memory is None else memory * MIB)
    monkeypatch.setattr(host, "usable_cores", lambda: 64)
    assert (Limits().budget, Limits().workers) == (budget * MIB, workers)


def test_files_of_every_size_around_a_chunk(directory_store: Store, tmp_path: Path) -> None:
    sizes = [0, 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 17 * MIB]
    tree = write_tree(tmp_path / "tree", {f"{size}.dat": (b"%09d" % size) * (size // 9 + 1) for size in sizes})
    for size in sizes:
        os.truncate(tree / f"{size}.dat", size)
    publish_tree(directory_store, tree)
    cas.restore("m", directory_store, cache_dir=tmp_path / "hub")
    snapshot = next((tmp_path / "hub").glob("models--*/snapshots/*"))
    for size in sizes:
        assert (snapshot / f"{size}.dat").read_bytes() == (tree / f"{size}.dat").read_bytes()
