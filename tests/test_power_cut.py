"""A directory store survives a power cut: whatever was acknowledged is whole, and at any moment before, what was."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

import cas
from cas.bucket import open_bucket
from cas.bucket.directory import durable
from cas.formats.digest import hex_of
from cas.formats.digest import named as with_prefix
from cas.formats.frame import Codec
from cas.ops.fsck.checker import fsck
from cas.refs import history
from cas.refs.move import move
from cas.refs.reflog import Ref, RefLog
from cas.store import layout, lookup
from cas.store.store import Store, open_store
from tests.support.collecting import Models
from tests.support.models import publish_tree, read_tree, write_tree
from tests.support.power_cut import PowerCuts, named, whole
from tests.support.processes import Mount
from tests.support.safetensors import Tensor, normal, publish_file, safetensors

Cuts = Callable[[], PowerCuts]
LATEST = "tags/m/latest"
sync = durable._sync


@pytest.fixture
def models(tmp_path: Path) -> Models:
    """A store in a directory in a folder that does not exist yet, like the store."""
    return Models(Store(open_bucket(str(tmp_path / "new" / "store"))), tmp_path)


@pytest.fixture
def power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cuts:
    """Starts to take down what of the store survives a power cut."""
    return lambda: PowerCuts(tmp_path / "new" / "store", monkeypatch)


def test_a_publish_into_a_new_store(models: Models, power: Cuts) -> None:
    cuts = power()
    version = models.publish("first")
    cuts.check()
    assert cuts.kept() == {LATEST: version}


def test_a_publish_leaves_the_old_version_until_the_new_one_is_whole(models: Models, power: Cuts) -> None:
    old = models.publish("old")
    cuts = power()
    new = models.publish("new")
    cuts.check()
    assert cuts.kept() == {LATEST: new}
    assert {cuts.named_at(moment) for moment in cuts.moments} == {old, new}


def test_chunks_get_their_names_together_and_each_folder_one_sync(models: Models, power: Cuts) -> None:
    cuts = power()
    tree = write_tree(models.folder / "tree", {f"{number}.bin": os.urandom(20) for number in range(40)})
    publish_tree(models.store, tree)
    manifest = next(n for n, moment in enumerate(cuts.moments) if moment.step.startswith("link manifests/"))
    synced = [moment.step for moment in cuts.moments[:manifest] if moment.step.startswith("fsync chunks/")]
    folders = [step for step in synced if "#" not in step]
    assert len(synced) - len(folders) == 40
    assert len(folders) == len(set(folders)) <= 40


@pytest.fixture
def killed(models: Models, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store as another process sees it, which writes and is killed before it makes any name durable."""
    bucket = open_bucket(models.store.url)
    monkeypatch.setattr(bucket, "settle", lambda: None)
    return Store(bucket)


@pytest.mark.parametrize("is_listed", [False, True])
def test_chunks_that_somebody_else_wrote_just_now(
    models: Models, power: Cuts, killed: Store, is_listed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "_FEW", 1 if is_listed else 1000)
    monkeypatch.setattr(lookup, "_LOOKUPS_PER_PAGE", 0)  # lookups never cost less
    models.publish("old")
    cuts = power()
    plain = b"new" * 1000
    killed.put_frame(hex_of(plain), killed.make_frame(hex_of(plain), plain, None, Codec()))
    version = models.publish("new")
    cuts.check()
    assert cuts.kept() == {LATEST: version}


def test_chunks_that_the_tagged_version_lost_and_somebody_else_wrote_just_now(
    models: Models, power: Cuts, killed: Store
) -> None:
    version = models.publish("old")
    plain = b"old" * 1000
    killed.bucket.delete(layout.chunk_key(hex_of(plain)))
    cuts = power()
    killed.put_frame(hex_of(plain), killed.make_frame(hex_of(plain), plain, None, Codec()))
    assert models.publish("old") == version
    assert cuts.kept() == {LATEST: version}


def test_a_manifest_that_somebody_else_wrote_just_now(models: Models, power: Cuts, killed: Store) -> None:
    made = killed.get_manifest("m", models.publish("old"))
    cuts = power()
    version = killed.put_manifest(structs.replace(made, annotations={"by": "somebody else"}))
    _tag(models, version)
    cuts.check()
    assert cuts.kept() == {LATEST: models.made["old"], "tags/m/stable": version}


@pytest.mark.parametrize("digest", ["version", None])
def test_a_move_that_somebody_else_made_just_now(
    models: Models, power: Cuts, killed: Store, digest: str | None
) -> None:
    version = models.publish("old")
    cuts = power()
    tag = Ref("tags", "m", "latest" if digest is None else "stable")
    wanted = digest and version
    RefLog(killed, tag).append(wanted, "test")
    assert move(models.store, {tag: None}, wanted, "test") == (), "it is done already"
    cuts.check()
    assert cuts.kept().get(f"tags/m/{tag.second}") == wanted


def _tag(models: Models, digest: str) -> None:
    move(models.store, {Ref("tags", "m", "stable"): None}, digest, "test")


def _pin(models: Models, digest: str) -> None:
    move(models.store, {Ref("pins", "eu", "m"): None}, digest, "test")


def _two(models: Models, digest: str) -> None:
    move(models.store, dict.fromkeys([Ref("tags", "m", "a"), Ref("tags", "m", "b")]), digest, "test")


def _roll_back(models: Models, digest: str) -> None:
    history.rollback(models.store, "m:latest")


def _untag(models: Models, digest: str) -> None:
    move(models.store, {Ref("tags", "m", "latest"): None}, None, "test")


MOVES = {_tag: "tags/m/stable", _pin: "pins/eu/m", _two: "tags/m/b", _roll_back: LATEST, _untag: LATEST}


@pytest.mark.parametrize("act", MOVES)
def test_a_move_by_hand(models: Models, power: Cuts, act: Callable[[Models, str], None]) -> None:
    old = models.publish("old")
    models.publish("new")
    cuts = power()
    act(models, old)
    cuts.check()
    assert cuts.kept().get(MOVES[act]) == (None if act is _untag else old)


def test_a_collection(models: Models, power: Cuts) -> None:
    for note in "abc":
        models.publish(note)
    needed = models.needed(models.made["a"])
    freed = models.needed(models.made["b"], models.made["c"]) - needed
    cuts = power()
    move(models.store, {Ref("tags", "m", "latest"): None}, models.made["a"], "test")
    for _ in range(2):
        collected = models.collect(keep=1)
    assert (collected.swept_versions, collected.swept_chunks) == (2, len(freed))
    cuts.check()
    assert cuts.kept() == {LATEST: models.made["a"]}
    chunks = {digest for key in cuts.moments[-1].synced if (digest := layout.chunk_digest(key))}
    assert chunks == needed, "what was freed stays freed"


def test_a_collection_after_a_move_that_is_not_durable_yet(models: Models, power: Cuts, killed: Store) -> None:
    old = models.publish("old")
    new = models.publish("new")
    models.collect(keep=1)  # condemns the old version
    move(models.store, {Ref("tags", "m", "latest"): None}, old, "test")
    cuts = power()
    RefLog(killed, Ref("tags", "m", "latest")).append(new, "test")
    assert models.collect(keep=1).swept_versions == 1
    cuts.check()
    assert cuts.kept() == {LATEST: new}


def test_a_collection_after_a_removal_that_is_not_durable_yet(models: Models, power: Cuts, killed: Store) -> None:
    log = RefLog(killed, Ref("tags", "m", "stable"))
    _tag(models, models.publish("old"))
    cuts = power()
    (tagged,) = log.listed()
    log.append(None, "test")
    models.collect()
    (removal,) = RefLog(killed, log.ref).listed()
    cuts.kept()
    deleted = [moment for moment in cuts.moments if tagged.key not in moment.live]
    assert deleted
    assert all(removal.key in moment.synced for moment in deleted)


def test_a_repair(models: Models, power: Cuts, tmp_path: Path) -> None:
    version = models.publish("old")
    shutil.copytree(models.store.url, tmp_path / "copy")
    chunk, manifest = layout.chunk_key(max(models.needed(version))), layout.manifest_key("m", version)
    Path(models.store.url, chunk).unlink()
    Path(models.store.url, manifest).write_bytes(b"{}")
    cuts = power()
    fsck(None, models.store, repair_from=[str(tmp_path / "copy")])
    assert cuts.kept() == {LATEST: version}
    steps = [moment.step for moment in cuts.moments]
    assert steps.index(f"fsync {os.path.dirname(chunk)}") < steps.index(f"rename {manifest}")


def test_a_variant(models: Models, power: Cuts) -> None:
    publish_file(models.store, models.folder, safetensors({"w": Tensor("F32", (512,), normal(512))}))
    cuts = power()
    made = cas.derive("m", models.store, cast="float16", tags=["fp16"])
    cuts.check()
    assert cuts.kept()["tags/m/fp16"] == made.reference[-64:]


def test_a_restore_syncs_nothing_in_the_store(models: Models, power: Cuts) -> None:
    models.publish("old")
    cuts = power()
    models.restored("m")
    cas.restore(f"m@{with_prefix(models.made['old'])}", open_store(models.store.url), cache_dir=models.folder / "hub")
    assert [moment.step for moment in cuts.moments if not moment.step.startswith("fsync ../")] == []


def test_copies_of_the_disk_at_any_moment(
    models: Models, power: Cuts, tmp_path: Path, mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = ("mkfs.ext4", "e2fsck", "debugfs")
    if missing := [tool for tool in tools if shutil.which(tool) is None]:
        pytest.skip(f"{missing[0]} is not installed")
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    (tmp_path / "new").mkdir()
    # The kernel writes nothing out by itself within the test, so a copy is the disk at one moment.
    mount(tmp_path / "new", "-o", "loop,commit=300", image)
    monkeypatch.setattr(durable, "_sync", sync)
    old = models.publish("old")
    cuts = power()
    copies: list[bytes] = []
    cuts.on_step = lambda step: copies.append(image.read_bytes())
    new = models.publish("new")
    cuts.on_step("success")
    # Copies between which nothing was written out are equal.
    found = [_version_on(copy, tmp_path / "out") for copy in dict.fromkeys(copies)]
    assert len(found) > 5
    assert found == sorted(found, key=[old, new].index)
    assert found[-1] == new
    restored = cas.restore("m", str(tmp_path / "out" / "store"), cache_dir=tmp_path / "hub")
    assert Path(*restored.snapshots.values(), "own.bin").read_bytes() == b"new" * 1000


def _version_on(image: bytes, out: Path) -> str:
    """Return the version (64 hex) that a disk holds as m:latest; fail unless it is whole."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    (out / "image").write_bytes(image)
    subprocess.run(["e2fsck", "-fy", out / "image"], check=False, capture_output=True)
    subprocess.run(["debugfs", "-R", f"rdump /store {out}", out / "image"], check=True, capture_output=True)
    objects = read_tree(out / "store")
    version = named(objects)[LATEST]
    assert whole(objects, version)
    return version.digest
