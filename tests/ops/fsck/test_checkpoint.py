"""A check that is broken off goes on where it stopped, with what it had found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cas.bucket import Bucket
from cas.errors import InputError, Transient
from cas.formats.digest import Buffer, named
from cas.formats.manifest import digest_of
from cas.host import Limits
from cas.ops.fsck.checker import fsck
from cas.store.layout import chunk_key
from cas.store.store import Store
from tests.support.buckets import RecordingBucket
from tests.support.damage import NEW, OLD, edit, fill, flip, noise, piece
from tests.support.in_process import call_cas
from tests.support.models import put_model, write_tree
from tests.support.planted import PLANTS, plant

FEW = Limits(requests=3, workers=2)


class Failing(RecordingBucket):
    """A bucket that fails after so many chunks."""

    left = 0

    def get(self, key: str, limit: int) -> Buffer:
        if key.startswith("chunks/"):
            if self.left == 0:
                raise Transient("the network is gone")
            self.left -= 1
        return super().get(key, limit)


class Straggling(RecordingBucket):
    """A bucket that fails for one chunk, after so many others."""

    straggler, others = "", 0

    def __init__(self, inner: Bucket) -> None:
        super().__init__(inner)
        self._enough = threading.Event()

    def get(self, key: str, limit: int) -> Buffer:
        if key == self.straggler:
            assert self._enough.wait(30)
            raise Transient("the network is gone")
        data = super().get(key, limit)
        if len(chunks_read(self)) >= self.others:
            self._enough.set()
        return data


def chunks_read(watched: RecordingBucket) -> list[str]:
    return [key.rpartition("/")[2] for key in watched.read if key.startswith("chunks/")]


def break_off(store: Store, state: Path, after: int, scope: str | None = None) -> list[str]:
    """Runs a check that fails after so many chunks, and returns those that it fetched."""
    failing = Failing(store.bucket)
    failing.left = after
    with pytest.raises(Transient):
        fsck(scope, Store(failing), state=state, limits=FEW)
    return chunks_read(failing)


def test_a_check_goes_on_after_the_last_chunk_before_which_all_are_done(store: Store, tmp_path: Path) -> None:
    fill(store)
    state = tmp_path / "state.json"
    first = min(piece(NEW, at) for at in range(12))
    store.bucket.delete(chunk_key(first))
    edit(store, max(piece(NEW, at) for at in range(12)), flip)
    before = break_off(store, state, 10)
    watermark = json.loads(state.read_bytes())["watermark"]
    assert watermark
    watched = RecordingBucket(store.bucket)
    checked = fsck(None, Store(watched), state=state, limits=FEW)
    after = chunks_read(watched)
    assert all(digest > watermark for digest in after)
    assert len(set(before) - set(after)) >= 10 - 3
    assert set(before) | set(after) == {entry.key.rpartition("/")[2] for entry in store.bucket.list("chunks")} | {first}
    assert [item.name for item in checked.missing.items] == [named(first)]
    assert (checked.left, checked.checked) == (2, 23)
    assert not state.exists()


def test_one_chunk_that_lags_behind_is_not_forgotten(store: Store, tmp_path: Path) -> None:
    fill(store)
    state = tmp_path / "state.json"
    keys = sorted(entry.key for entry in store.bucket.list("chunks"))
    straggling = Straggling(store.bucket)
    straggling.straggler, straggling.others = keys[4], 15
    with pytest.raises(Transient):
        fsck(None, Store(straggling), state=state, limits=FEW)
    known = json.loads(state.read_bytes())
    assert (known["watermark"], known["checked"]) == (keys[3].rpartition("/")[2], 4)
    watched = RecordingBucket(store.bucket)
    assert fsck(None, Store(watched), state=state, limits=FEW).checked == 23
    assert sorted(chunks_read(watched)) == [key.rpartition("/")[2] for key in keys[4:]]


def test_what_was_published_meanwhile_is_checked_whatever_its_digest(store: Store, tmp_path: Path) -> None:
    fill(store)
    state = tmp_path / "state.json"
    break_off(store, state, 20)
    more = put_model(store, {"org/model": {"model.bin": noise(20 << 16, 11)}})
    doomed = min(more.chunks())
    assert doomed < json.loads(state.read_bytes())["watermark"]
    store.bucket.delete(chunk_key(doomed))
    # Broken off once more among what is new.
    break_off(store, state, 2)
    checked = fsck(None, store, state=state, limits=FEW)
    assert [item.name for item in checked.missing.items] == [named(doomed)]


def test_a_check_of_what_is_new_that_is_broken_off_is_not_done_with_it(store: Store, tmp_path: Path) -> None:
    fill(store)
    state = tmp_path / "state.json"
    break_off(store, state, 20)
    watermark = json.loads(state.read_bytes())["watermark"]
    more = put_model(store, {"org/model": {"model.bin": noise(20 << 16, 11)}})
    below = sorted(digest for digest in more.chunks() if digest < watermark)
    assert len(below) > 2 + FEW.requests
    store.bucket.delete(chunk_key(below[-1]))
    assert below[-1] not in break_off(store, state, 2), "the second sitting ends before it gets there"
    known = json.loads(state.read_bytes())
    assert (known["watermark"], digest_of(more) in known["versions"]) == (watermark, False)
    assert [item.name for item in fsck(None, store, state=state, limits=FEW).missing.items] == [named(below[-1])]


def test_a_state_of_another_check_is_refused(store: Store, tmp_path: Path) -> None:
    fill(store)
    state = tmp_path / "state.json"
    break_off(store, state, 5, "m")
    written = state.read_bytes()
    for scope, sample in ((None, 1.0), ("m:latest", 1.0), ("m", 0.5)):
        with pytest.raises(InputError, match="is of another check"):
            fsck(scope, store, state=state, sample=sample)
    other = write_tree(tmp_path / "other", {"format.json": b'{"format":"cas","version":1}'})
    with pytest.raises(InputError, match="is of another check"):
        fsck("m", str(other), state=state)
    state.write_bytes(b"{}")
    with pytest.raises(InputError, match="is no state"):
        fsck("m", store, state=state)
    state.write_bytes(written)
    assert fsck("m", store, state=state).sound


def test_a_state_that_cannot_be_written_is_said_before_any_chunk_is_fetched(store: Store, tmp_path: Path) -> None:
    fill(store)
    watched = RecordingBucket(store.bucket)
    with pytest.raises(FileNotFoundError):
        fsck(None, Store(watched), state=tmp_path / "none/state.json")
    assert chunks_read(watched) == []


def test_a_sample_is_the_same_when_it_goes_on(store: Store, tmp_path: Path) -> None:
    fill(store)
    state = tmp_path / "state.json"
    failing = Failing(store.bucket)
    failing.left = 5
    with pytest.raises(Transient):
        fsck(None, Store(failing), state=state, limits=FEW, sample=0.5)
    watched = RecordingBucket(store.bucket)
    checked = fsck(None, Store(watched), state=state, limits=FEW, sample=0.5)
    assert len(set(chunks_read(failing)) | set(chunks_read(watched))) == checked.checked == 12


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_command_that_is_ended_by_a_signal_goes_on(
    directory_store: Store, tmp_path: Path, how: signal.Signals
) -> None:
    fill(directory_store)
    edit(directory_store, min(piece(OLD, at) for at in range(12)), flip)
    state = tmp_path / "state.json"
    code = f"""
import os, threading
from cas.ops.fsck import checkpoint
from cas.cli.main import main
checkpoint.SAVE_EVERY = 0
turn, real = threading.Lock(), checkpoint.Progress.done
def done(self, *checked):
    with turn:  # no other thread goes on after the signal
        real(self, *checked)
        if self.checkpoint.checked >= 5:
            os.kill(os.getpid(), {int(how)})
            threading.Event().wait()
checkpoint.Progress.done = done
main()
"""
    words = ["--store", directory_store.url, "fsck", "--state", str(state)]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == (130 if how == signal.SIGINT else -how), done.stderr
    known = json.loads(state.read_bytes())
    assert known["checked"] >= 5
    left = set(os.listdir(tmp_path))
    assert left - ({"state.json.tmp"} if how == signal.SIGKILL else set()) == {"state.json", "store"}
    watched = RecordingBucket(directory_store.bucket)
    checked = fsck(None, Store(watched), state=state)
    assert all(digest > known["watermark"] for digest in chunks_read(watched))
    assert (checked.corrupt.count, checked.checked) == (1, 23)
    assert os.listdir(tmp_path) == ["store"]
    again = call_cas(*words, "--repair-from", str(write_tree(tmp_path / "source", {"model.bin": OLD["model.bin"]})))
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("what", PLANTS)
def test_a_state_that_cannot_be_read_is_refused_by_its_path(what: str, store: Store, tmp_path: Path) -> None:
    fill(store)
    plant(what, tmp_path / "state.json")
    with pytest.raises(InputError) as caught:
        fsck("m", store, state=tmp_path / "state.json")
    assert f"{tmp_path}/state.json" in str(caught.value)
    assert str(caught.value).isprintable()
