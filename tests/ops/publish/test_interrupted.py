"""Killed publishers: the tag still names the old, complete version, and the next publish sends only what is missing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import cas
from cas import refs
from cas.formats.frame import Decoder
from cas.formats.manifest import ChunkRef
from cas.refs.reflog import Ref, RefLog
from cas.store.store import Store
from tests.support.models import REPO, publish_tree, read_tree, snapshot, write_tree

DIE_AT = """
import os, signal, sys
import cas
from cas.events import Moved
from cas.events import Phase

folder, repo, url, last = *sys.argv[1:4], int(sys.argv[4])
seen = []

def listen(event):
    seen.append(event)
    if len(seen) == last:
        os.kill(os.getpid(), signal.SIGKILL)

done = cas.publish("m", cas.Source.from_folder(folder, repo), url, on_event=listen)
print(len(seen), done.uploaded_chunks, flush=True)
os._exit(0)  # as the command line does, and for its reason
"""


def weights(seed: int, size: int = 40_000_000) -> bytes:
    """`size` bytes of float32 numbers, distributed like the weights of a model, and different for each seed."""
    return (np.random.default_rng(seed).standard_normal(size // 4, dtype=np.float32) * np.float32(0.02)).tobytes()


def named_before(store: Store) -> str:
    """The version that m:latest named before its last move."""
    return f"m@{RefLog(store, Ref('tags', 'm', 'latest')).history(2)[0].entry.manifest}"


def check_restorable(store: Store, wanted: str) -> None:
    """Assert that the tag names `wanted`, and that each of its chunks is in the store and has the right content."""
    resolved = refs.resolve(store, "m")
    assert resolved.exact == wanted
    decoder = Decoder()
    for digest, size in resolved.manifest.chunks().items():
        store.get_chunk(ChunkRef(digest, size), decoder)


def test_a_publish_killed_at_any_event_leaves_the_old_version_and_the_next_finishes_it(
    store: Store, tmp_path: Path
) -> None:
    tree = write_tree(tmp_path / "tree", {"w.bin": b"old"})
    old = publish_tree(store, tree).reference
    names = [f"{number}.bin" for number in range(5)]
    write_tree(tree, {name: os.urandom(10_000) for name in names})
    survived = 0
    for last in range(1, 100):
        words = [sys.executable, "-c", DIE_AT, str(tree), REPO, store.url, str(last)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode == 0:
            events, uploaded = map(int, done.stdout.split())
            assert events < last
            assert uploaded < len(names)
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        check_restorable(store, old)
        survived += 1
    assert survived == len(names) + 4  # one event for each chunk, the old chunk among them, and three phases
    assert named_before(store) == old
    assert read_tree(snapshot(cas.restore("m", store, cache_dir=tmp_path / "hub"))) == read_tree(tree)


@pytest.mark.parametrize(("store", "kills"), [("directory", 20), ("s3", 8)], indirect=["store"])
def test_a_publish_killed_at_any_moment_leaves_the_old_version(store: Store, kills: int, tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", {"w.bin": weights(0)})
    words = [sys.executable, "-m", "cas", "-q", "publish", "m", "--dir", str(tree), "--as", REPO, "--store", store.url]
    begun = time.monotonic()
    now = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    usual = time.monotonic() - begun
    rng = random.Random(12)
    killed = moved = 0
    write_tree(tree, {"w.bin": weights(1)})
    for _ in range(kills):
        begun = time.monotonic()
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        try:
            process.wait(usual * rng.uniform(0.2, 1.0))
        except subprocess.TimeoutExpired:
            process.kill()
        output, _ = process.communicate()
        if process.returncode == 0:
            now = output.strip()
        else:
            killed += 1
            # A publish that was killed after its last write has moved the tag.
            current = refs.resolve(store, "m")
            if current.exact != now and named_before(store) == now:
                now = current.exact
        check_restorable(store, now)
        if process.returncode == 0:
            moved += 1
            # The first publish may have been slower than usual: kills aim at the duration of the fastest.
            usual = min(usual, time.monotonic() - begun)
            write_tree(tree, {"w.bin": weights(1 + moved)})
    assert killed >= kills // 2
    last = publish_tree(store, tree)
    check_restorable(store, last.reference)
    assert read_tree(snapshot(cas.restore("m", store, cache_dir=tmp_path / "hub"))) == read_tree(tree)
