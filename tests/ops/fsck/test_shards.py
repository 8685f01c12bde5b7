"""A check in shards finds what a whole check finds, each thing once; only results of one check are summed up."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import msgspec
import pytest

from cas.bucket import Kind
from cas.errors import InputError
from cas.host import MIB, Limits
from cas.ops.fsck.checker import Checked, fsck
from cas.ops.fsck.merge import merge
from cas.ops.fsck.shard import Shard, limits_for, parse_shard
from cas.store.layout import CHUNK_FOLDERS, chunk_key, manifest_key
from cas.store.store import Store
from tests.support.buckets import RecordingBucket
from tests.support.damage import NEW, OLD, edit, fill, flip, piece
from tests.support.in_process import call_cas


@pytest.mark.parametrize("of", [1, 3, 16, 255, 256])
def test_each_chunk_belongs_to_one_shard(of: int) -> None:
    shards = [Shard(number, of) for number in range(1, of + 1)]
    assert [folder for shard in shards for folder in shard.folders] == list(CHUNK_FOLDERS)
    for first in range(256):
        (owner,) = (shard for shard in shards if shard.has(bytes([first]) * 32))
        assert CHUNK_FOLDERS[first] in owner.folders
    assert parse_shard(str(shards[-1])) == shards[-1]


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "1/257", "-1/4", "1/0", "a/b", "1/4/4", "٣/4"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="such as 3/16"):
        parse_shard(text)


def test_shards_of_one_process_share_its_machine() -> None:
    whole = Limits()
    assert (limits_for(1).budget, limits_for(1).workers) == (whole.budget, whole.workers)
    assert limits_for(64).budget == 32 * MIB
    assert limits_for(64).requests * limits_for(64).workers > 0


def damaged(store: Store) -> None:
    """Fill a store, and damage two chunks, a manifest, and an entry of a ref."""
    fill(store)
    edit(store, piece(NEW, 8), flip)
    store.bucket.delete(chunk_key(piece(OLD, 2)))
    (other,) = store.digests("other")
    store.bucket.put(manifest_key("other", other), b"{}", Kind.MANIFEST, overwrite=True)
    store.bucket.put(f"refs/tags/m/odd/00000001-{'0' * 16}.json", b"<html>", Kind.DOCUMENT)


def facts(checked: Checked) -> dict[str, object]:
    """Return a result without its time, and with the names of what is damaged in one order.

    Of the versions that need a chunk, either may be named.
    """
    found = dataclasses.asdict(dataclasses.replace(checked, seconds=0.0))
    for kind in ("missing", "corrupt", "undecodable"):
        found[kind] = (
            found[kind]["count"],
            sorted((damage.what, damage.name) for damage in getattr(checked, kind).items),
        )
    return found


@pytest.mark.parametrize("scope", [None, "m"])
def test_the_sum_of_the_shards_is_the_whole(store: Store, scope: str | None) -> None:
    damaged(store)
    whole = fsck(scope, store)
    assert whole.left == (4 if scope is None else 3)
    parts = [fsck(scope, store, shard=Shard(number, 3)) for number in (1, 2, 3)]
    assert facts(merge([parts[2], parts[0], parts[1]], "cab")) == facts(whole)
    assert [part.checked for part in parts] != [whole.checked, 0, 0]


def test_a_shard_reads_its_own_folders_only(directory_store: Store) -> None:
    fill(directory_store)
    watched = RecordingBucket(directory_store.bucket)
    shard = Shard(2, 3)
    checked = fsck(None, Store(watched), shard=shard)
    assert checked.sound
    assert len(watched.chunks) == checked.checked > 0
    assert all(shard.has(bytes.fromhex(digest)) for digest in watched.chunks)


def test_results_that_do_not_belong_together_are_refused(directory_store: Store) -> None:
    fill(directory_store)
    one, two = (fsck(None, directory_store, shard=Shard(number, 2)) for number in (1, 2))
    for results, words in (
        ([one], "shard 2/2 is missing"),
        ([one, one], "same shard 1/2"),
        ([one, dataclasses.replace(two, store="other")], "another check"),
        ([one, dataclasses.replace(two, scope="m")], "another check"),
        ([one, dataclasses.replace(two, shard="2/3")], "another check"),
        ([dataclasses.replace(one, shard=None), two], "a whole check"),
    ):
        with pytest.raises(InputError, match=words):
            merge(results, [f"{number}.json" for number in range(len(results))])


def test_a_state_is_of_one_shard_and_shards_are_not_repaired(directory_store: Store, tmp_path: Path) -> None:
    from cas.ops.fsck.checkpoint import Checkpoint, load_checkpoint

    state, url = tmp_path / "state", directory_store.url
    state.write_bytes(msgspec.json.encode(Checkpoint(store=url, scope=None, sample=1, seed="", shard="1/2")))
    assert load_checkpoint(state, url, None, 1, Shard(1, 2)) is not None
    for other in (None, Shard(2, 2)):
        with pytest.raises(InputError, match="--shard 1/2"):
            load_checkpoint(state, url, None, 1, other)
    assert b'"shard"' not in msgspec.json.encode(Checkpoint(store=url, scope=None, sample=1, seed=""))
    with pytest.raises(InputError, match="a shard is not repaired"):
        fsck(None, directory_store, shard=Shard(1, 2), repair_from=["hf"])


def test_a_fleet_checks_a_store(directory_store: Store, tmp_path: Path) -> None:
    damaged(directory_store)
    merging: list[str] = []
    for number in (1, 2):
        done = call_cas("--json", "-q", "--store", directory_store.url, "fsck", "--shard", f"{number}/2")
        file = tmp_path / f"{number}.json"
        file.write_text(done.stdout)
        merging += ["--merge", str(file)]
        assert done.returncode == (0 if json.loads(done.stdout)["sound"] else 4)
    done = call_cas("--json", "-q", "fsck", *merging)
    assert (done.returncode, json.loads(done.stdout)["shard"]) == (4, None)
    assert sum(json.loads(done.stdout)[kind]["count"] for kind in ("missing", "corrupt", "undecodable")) == 4
    refused = call_cas("fsck", "m", *merging)
    assert (refused.returncode, "--merge takes results only" in refused.stderr) == (2, True)
    (tmp_path / "2.json").write_text("{")
    refused = call_cas("fsck", *merging)
    assert (refused.returncode, "is no result of" in refused.stderr) == (2, True)
