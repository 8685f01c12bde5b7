"""A copy keeps ids and frames, sends what is missing and no more, and names versions last."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

import cas
from cas import events
from cas.bucket import Kind
from cas.errors import ChunkCorrupt, ChunkMissing, InputError, StoreError, StoreMissing
from cas.formats.digest import Buffer, hex_of, named
from cas.formats.frame import Encoder
from cas.formats.manifest import Derived, digest_of
from cas.ops.transfer.copier import copy
from cas.ops.transfer.receiver import Author
from cas.ops.transfer.wanted import naming
from cas.refs.lineage import lineage_of
from cas.refs.reflog import Ref, RefLog
from cas.store import layout
from cas.store.condemned import condemn
from cas.store.layout import VersionId, chunk_key
from cas.store.store import Store, open_store
from tests.support.buckets import RecordingBucket, slow_store
from tests.support.in_process import call_cas, cas_json
from tests.support.models import noise, read_tree, snapshot
from tests.support.processes import start_cas, until
from tests.support.transfer import CHUNK, FILES, NEXT, beside, filled, objects
from tools.golden import ROOT
from tools.servers.seaweed import SeaweedFS


def current(store: Store, kind: str, first: str, second: str) -> str | None:
    return RefLog(store, Ref(kind, first, second)).current_digest()  # type: ignore[arg-type]


def test_frames_manifests_and_the_tag_arrive_as_they_were(store: Store, tmp_path: Path) -> None:
    digest = filled(store)
    target = open_store(beside(store, tmp_path))
    done = copy(["m"], target, store)
    assert objects(target) == objects(store)
    assert (done.copied_chunks, done.chunks, done.moved, done.made_store) == (13, 13, ("m:latest",), True)
    assert read_tree(snapshot(cas.restore("m", target, cache_dir=tmp_path / "hub"), "org/m")) == FILES
    again = copy(["m"], target, store)
    assert (again.copied_chunks, again.wire, again.moved, again.made_store) == (0, 0, (), False)
    filled(store, NEXT)
    assert copy(["m:latest"], target, store).copied_chunks == 3, "only what is missing"
    assert current(target, "tags", "m", "latest") != digest


def test_chunks_come_before_the_manifest_and_the_tag_after_it(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    target = Store(RecordingBucket(open_store(str(tmp_path / "copy")).bucket))
    copy(["m"], target, directory_store)
    assert isinstance(target.bucket, RecordingBucket)
    kinds = [key.partition("/")[0] for key in target.bucket.written]
    steps = [kind for kind, before in zip(kinds, [None, *kinds], strict=False) if kind != before]
    assert steps == ["format.json", "leases", "chunks", "manifests", "refs", "leases"]


def test_what_a_source_has_lost_or_damaged_is_not_named(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    target = open_store(str(tmp_path / "copy"))
    digest = hex_of(FILES["model.bin"][:CHUNK])
    frame = bytes(directory_store.bucket.get(chunk_key(digest), 1 << 20))
    directory_store.bucket.put(chunk_key(digest), frame[:-9], Kind.CHUNK, overwrite=True)
    with pytest.raises(ChunkCorrupt, match=named(digest)):
        copy(["m"], target, directory_store)
    directory_store.bucket.delete(chunk_key(digest))
    with pytest.raises(ChunkMissing, match=named(digest)):
        copy(["m"], target, directory_store)
    assert target.bucket.list(layout.MANIFESTS) == target.bucket.list("refs") == []


def test_frames_are_decoded_only_to_verify_them(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    digest = hex_of(FILES["model.bin"][:CHUNK])
    other = bytes(Encoder().encode(noise(CHUNK, 5)))
    directory_store.bucket.put(chunk_key(digest), other, Kind.CHUNK, overwrite=True)
    with pytest.raises(ChunkCorrupt, match=named(digest)):
        copy(["m"], str(tmp_path / "verified"), directory_store, verify=True)
    copy(["m"], str(tmp_path / "copy"), directory_store)
    with pytest.raises(ChunkCorrupt, match=named(digest)):
        cas.restore("m", str(tmp_path / "copy"), cache_dir=tmp_path / "hub")


class Failing(RecordingBucket):
    """A bucket that refuses every chunk after the first six."""

    left = 6

    def put(self, key: str, data: Buffer, kind: Kind, *, overwrite: bool = False) -> bool:
        if kind is Kind.CHUNK:
            self.left -= 1
            if self.left < 0:
                raise StoreError("no more")
        return super().put(key, data, kind, overwrite=overwrite)


def test_a_copy_that_failed_goes_on_where_it_was(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    target = open_store(str(tmp_path / "copy"))
    with pytest.raises(StoreError, match="no more"):
        copy(["m"], Store(Failing(target.bucket)), directory_store)
    assert len(target.bucket.list(layout.CHUNKS)) == 6
    assert target.bucket.list(layout.MANIFESTS) == target.bucket.list("refs") == []
    assert copy(["m"], target, directory_store).copied_chunks == 7


def test_a_copy_that_was_killed_goes_on_where_it_was(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    target = open_store(str(tmp_path / "copy"))
    with slow_store(directory_store, limit=6) as served:
        # Pins and tags are not listed over https: the version is named by its digest.
        version = str(VersionId("m", filled(directory_store)))
        process = start_cas("--store", served.url, "copy", version, target.url, "--tag", "prod")
        until(lambda: served.stalling and len(target.bucket.list(layout.CHUNKS)) == 6)
        process.kill()
        process.wait()
    assert target.bucket.list("refs") == []
    assert copy([version], target, directory_store, rule=naming(["prod"])).copied_chunks == 7
    assert objects(target) == objects(directory_store)


def test_a_source_that_is_only_to_be_read(directory_store: Store, tmp_path: Path) -> None:
    version = str(VersionId("m", filled(directory_store)))
    notes: list[str] = []
    with slow_store(directory_store, limit=1000) as served:
        done = copy(
            [version],
            str(tmp_path / "copy"),
            served.url,
            on_event=lambda event: notes.append(event.text) if isinstance(event, events.Noted) else None,
        )
    assert done.copied_chunks == 13
    assert [note for note in notes if note.startswith(f"no lease in {served.url}")]


def test_a_condemned_chunk_counts_as_absent(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    target = open_store(str(tmp_path / "copy"))
    copy(["m"], target, directory_store)
    digest = hex_of(FILES["model.bin"][:CHUNK])
    condemn(target, "20261123T120000Z-00000001", [], [bytes.fromhex(digest)])
    before = target.bucket.head(chunk_key(digest)).modified
    assert copy(["m"], target, directory_store).copied_chunks == 1
    assert target.bucket.head(chunk_key(digest)).modified > before


@pytest.mark.parametrize("name", ["v1", "v2"])
def test_versions_of_every_format_keep_their_ids(name: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / name / "store", tmp_path / "golden")
    source, target = open_store(str(tmp_path / "golden")), open_store(str(tmp_path / "copy"))
    tags = [log.ref for log in cas_refs(source)]
    done = copy([str(ref) for ref in tags], target, source)
    assert set(objects(target).items()) <= set(objects(source).items())
    assert sorted(done.moved) == sorted(map(str, tags))
    for ref in tags:
        digest = RefLog(source, ref).current_digest()
        assert digest and RefLog(target, ref).current_digest() == digest
        there, here = (store.get_manifest(ref.model, digest) for store in (target, source))
        version = VersionId(ref.model, digest)
        assert lineage_of(target, version, there).created == lineage_of(source, version, here).created


def cas_refs(store: Store) -> list[RefLog]:
    from cas.refs.reflog import logs

    return [log for log in logs(store) if log.current_digest()]


def test_two_servers_with_two_keys(
    seaweed: SeaweedFS, s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = filled(open_store(s3_url))
    bucket = s3_url.split("/")[2]
    seaweed.create_bucket(f"{bucket}-second")
    access, secret = seaweed.credentials("writer")
    (tmp_path / "config").write_text(f"[profile second]\nregion = us-east-1\nendpoint_url = {seaweed.endpoint}\n")
    (tmp_path / "keys").write_text(f"[second]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
    for name, value in seaweed.env(bucket, "reader").items():
        monkeypatch.setenv(name, value)
    second = f"s3://second@{bucket}-second/cas"
    notes: list[str] = []
    listen = lambda event: notes.append(event.text) if isinstance(event, events.Noted) else None
    assert copy(["m"], second, s3_url, on_event=listen).moved == ("m:latest",)
    assert [note for note in notes if note.startswith(f"no lease in {s3_url}")], "a reader's key writes none"
    assert current(open_store(second), "tags", "m", "latest") == digest
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert objects(open_store(second)), "the variables do not count for it"


def test_names_are_chosen(directory_store: Store, tmp_path: Path) -> None:
    digest = filled(directory_store)
    target = str(tmp_path / "copy")
    done = cas_json(directory_store, "copy", "m", target, "--tag", "a", "--tag", "b", "--pin", "eu")
    assert sorted(done["moved"]) == ["m:a", "m:b", "pin:eu/m"]
    assert cas_json(directory_store, "copy", "m", target, "--no-refs")["moved"] == []
    assert cas_json(target, "pin", "us", "m:a")["moved"] == ["pin:us/m"]
    other = str(tmp_path / "other")
    assert cas_json(target, "copy", "pin:us/m", other)["moved"] == ["pin:us/m"]
    assert current(open_store(other), "pins", "us", "m") == digest
    (entry,) = cas_json(other, "history", "pin:us/m")
    assert entry["reason"].startswith(f"copied from {target}, where ")


def test_a_version_that_nothing_names_there_is_warned_of(directory_store: Store, tmp_path: Path) -> None:
    version = str(VersionId("m", filled(directory_store)))
    target = str(tmp_path / "copy")
    warned = call_cas("--store", directory_store.url, "copy", version, target).stderr
    assert f"no tag and no pin in {target} names {version}: its collector deletes it" in warned
    copy(["m"], target, directory_store)
    assert "no tag" not in call_cas("--store", directory_store.url, "copy", version, target).stderr


def test_a_copy_says_who_and_why(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    target = open_store(str(tmp_path / "copy"))
    copy(["m"], target, directory_store, author=Author("ann@host", "second region"))
    (entry,) = cas_json(target, "history", "m")
    assert (entry["by"], entry["reason"]) == ("ann@host", "second region")


def test_wrong_calls(directory_store: Store, tmp_path: Path) -> None:
    first = str(VersionId("m", filled(directory_store)))
    filled(directory_store, NEXT)
    with pytest.raises(InputError, match="is the store that is copied from"):
        copy(["m"], directory_store.url, directory_store)
    with pytest.raises(InputError, match="m:prod would name both"):
        copy(["m", first], str(tmp_path / "copy"), directory_store, rule=naming(["prod"]))
    (tmp_path / "other").mkdir()
    (tmp_path / "other/letter.txt").write_text("Dear Sir")
    with pytest.raises(StoreMissing, match="letter"):
        copy(["m"], str(tmp_path / "other"), directory_store)
    assert call_cas("--store", directory_store.url, "copy", "m").returncode == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "store"]


def test_a_dry_run_writes_nothing(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    leases = len(directory_store.bucket.list(layout.LEASES))
    done = call_cas("--store", directory_store.url, "copy", "-n", "m", str(tmp_path / "copy"))
    assert "would copy 786.4 kB in 13 of 13 chunks" in done.stderr
    assert not (tmp_path / "copy").exists() and len(directory_store.bucket.list(layout.LEASES)) == leases


def test_a_variant_s_original_that_is_not_there_is_told(directory_store: Store, tmp_path: Path) -> None:
    original = filled(directory_store)
    manifest = directory_store.get_manifest("m", original)
    variant = msgspec.structs.replace(manifest, derived=Derived(named(original), "cast float16"))
    version = str(VersionId("m", digest_of(variant)))
    directory_store.put_manifest(variant)
    done = copy([version], str(tmp_path / "copy"), directory_store)
    assert done.originals == (str(VersionId("m", original)),)
    assert copy([version, "m"], str(tmp_path / "copy"), directory_store).originals == ()
