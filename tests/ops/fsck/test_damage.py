"""Each kind of damage is found, told apart, and said with who needs it; nothing is written meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from cas.bucket import Kind
from cas.errors import InputError, NotFoundError
from cas.formats.digest import hex_of, named
from cas.formats.frame import Encoder, largest_frame
from cas.formats.manifest import ChunkRef, Manifest, Repo, RepoFile, digest_of
from cas.ops.fsck.checker import DamagedObject, fsck
from cas.refs.reference import Reference, log_of
from cas.store.layout import chunk_key, manifest_key
from cas.store.store import Store
from tests.support.buckets import RecordingBucket
from tests.support.damage import CHUNK, NEW, OLD, ORPHAN, edit, fill, flip, newer, noise, piece, state_of
from tests.support.in_process import call_cas
from tests.support.models import COMMIT

SCOPES = [None, "m", "m:latest"]


@pytest.mark.parametrize("scope", SCOPES)
def test_a_sound_store_is_sound_and_only_read(store: Store, scope: str | None) -> None:
    fill(store)
    before = state_of(store)
    watched = RecordingBucket(store.bucket)
    checked = fsck(scope, Store(watched))
    assert checked.sound
    # m: 12 and 6 chunks of weights and two small ones; other: 2; one that nothing needs.
    assert checked.checked == {None: 23, "m": 20, "m:latest": 13}[scope]
    assert checked.versions == {None: 3, "m": 2, "m:latest": 1}[scope]
    fetched = [key for key in watched.read if key.startswith("chunks/")]
    assert len(fetched) == len(set(fetched)) == checked.checked
    assert checked.orphaned.items == ((named(hex_of(ORPHAN)),) if scope is None else ())
    assert not watched.written
    assert state_of(store) == before


def boast(frame: bytearray) -> bytearray:
    """Its header claims a terabyte."""
    assert int.from_bytes(frame[16:24], "little") == CHUNK
    frame[16:24] = (1 << 40).to_bytes(8, "little")
    return frame


EDITS: list[tuple[str, str, Callable[[bytearray], bytes | bytearray]]] = [
    ("a flipped bit", "corrupt", flip),
    ("a short frame", "undecodable", lambda frame: frame[: len(frame) // 2]),
    ("nothing", "undecodable", lambda frame: b""),
    ("an error page", "undecodable", lambda frame: b"<html>We will be back soon</html>" * 3),
    ("another chunk", "corrupt", lambda frame: Encoder().encode(noise(CHUNK, 5))),
    ("a shorter chunk", "corrupt", lambda frame: Encoder().encode(noise(1000, 5))),
    ("a newer frame", "undecodable", newer),
    ("a boast", "undecodable", boast),
    ("far too much", "undecodable", lambda frame: bytes(largest_frame(CHUNK) + 1)),
]


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(("kind", "change"), [pytest.param(kind, change, id=name) for name, kind, change in EDITS])
def test_damaged_frames_are_told_apart(
    store: Store, scope: str | None, kind: str, change: Callable[[bytearray], bytes | bytearray]
) -> None:
    _, latest = fill(store)
    damaged = piece(NEW, 8)
    edit(store, damaged, change)
    before = state_of(store)
    checked = fsck(scope, store)
    found = {name: getattr(checked, name).items for name in ("missing", "corrupt", "undecodable")}
    items = found.pop(kind)
    assert not any(found.values())
    assert [(item.what, item.name) for item in items] == [("chunk", named(damaged))]
    assert items[0].needed_by == f"m@{named(digest_of(latest))} model.bin"
    assert state_of(store) == before


@pytest.mark.parametrize("said", [CHUNK - 1, CHUNK + 1])
def test_a_chunk_of_another_size_than_its_version_says_is_corrupt(directory_store: Store, said: int) -> None:
    fill(directory_store)
    chunk = ChunkRef(hex_of(ORPHAN), said)
    files = (RepoFile("model.bin", said, "0" * 64, (chunk,)),)
    repo = Repo("org/model", "model", COMMIT, ("main",), files)
    version = Manifest(model="wrong", repos=(repo,), files=())
    directory_store.put_manifest(version)
    checked = fsck(None, directory_store)
    assert [(item.name, item.needed_by) for item in checked.corrupt.items] == [
        (named(hex_of(ORPHAN)), f"wrong@{named(digest_of(version))} model.bin")
    ]
    assert checked.left == 1


@pytest.mark.parametrize("scope", SCOPES)
def test_a_chunk_that_is_gone_is_missing(store: Store, scope: str | None) -> None:
    fill(store)
    store.bucket.delete(chunk_key(piece(NEW, 0)))
    checked = fsck(scope, store)
    assert [item.name for item in checked.missing.items] == [named(piece(NEW, 0))]
    assert checked.left == 1


def test_versions_without_a_tag_are_of_the_model_and_not_of_its_latest(store: Store) -> None:
    fill(store)
    edit(store, piece(OLD, 8), flip)
    assert fsck("m:latest", store).sound
    assert fsck("other", store).sound
    assert [item.name for item in fsck("m", store).corrupt.items] == [named(piece(OLD, 8))]


@pytest.mark.parametrize(("kind", "change"), [pytest.param(kind, change, id=name) for name, kind, change in EDITS[:-1]])
def test_a_damaged_chunk_that_nothing_needs_is_no_orphan(
    directory_store: Store, kind: str, change: Callable[[bytearray], bytes | bytearray]
) -> None:
    fill(directory_store)
    edit(directory_store, hex_of(ORPHAN), change)
    checked = fsck(None, directory_store)
    assert [(item.name, item.needed_by) for item in getattr(checked, kind).items] == [(named(hex_of(ORPHAN)), "")]
    assert checked.orphaned.count == 0


def test_a_large_chunk_that_nothing_needs_is_sized_by_its_header(directory_store: Store) -> None:
    fill(directory_store)
    for plain in (bytes(20 << 20), noise(3 << 20)):
        directory_store.put_frame(hex_of(plain), Encoder().encode(plain))
    checked = fsck(None, directory_store)
    assert checked.sound
    assert checked.orphaned.count == 3


@pytest.mark.parametrize("how", ["altered", "malformed", "gone"])
def test_damaged_manifests_are_named(store: Store, how: str) -> None:
    _, latest = fill(store)
    digest = digest_of(latest)
    key = manifest_key("m", digest)
    if how == "gone":
        store.bucket.delete(key)
    elif how == "altered":
        store.bucket.put(
            key, bytes(store.bucket.get(key, 1 << 20)).replace(b"main", b"mian"), Kind.MANIFEST, overwrite=True
        )
    else:
        digest = hex_of(b"{}")
        store.bucket.put(manifest_key("m", digest), b"{}", Kind.MANIFEST)
    needed = "" if how == "malformed" else "m:latest"
    kind = {"altered": "corrupt", "malformed": "undecodable", "gone": "missing"}[how]
    for scope in (None, "m"):
        checked = fsck(scope, store)
        (item,) = getattr(checked, kind).items
        assert (item.what, item.name, item.needed_by) == ("manifest", f"m@{named(digest)}", needed)
        assert checked.left == 1


def test_a_malformed_entry_of_a_ref_is_named(store: Store) -> None:
    fill(store)
    store.bucket.put("refs/tags/m/latest/00000009-0000000000000000.json", b"{", Kind.DOCUMENT)
    for scope in (None, "m", "m:latest"):
        (item,) = fsck(scope, store).undecodable.items
        assert (item.what, item.name) == ("ref", "m:latest, entry 00000009-0000000000000000.json")
        assert "is malformed" in item.reason


@pytest.mark.parametrize("scope", [None, "m", "pin:eu/m"])
def test_a_malformed_entry_of_a_pin_is_named_and_what_a_pin_names_is_needed(
    directory_store: Store, scope: str | None
) -> None:
    old, _ = fill(directory_store)
    log = log_of(directory_store, Reference("m", deployment="eu"))
    log.append(digest_of(old), "test")
    directory_store.bucket.delete(manifest_key("m", digest_of(old)))
    (item,) = fsck(scope, directory_store).missing.items
    assert (item.what, item.needed_by) == ("manifest", str(log.ref))
    directory_store.bucket.put("refs/pins/eu/m/00000009-0000000000000000.json", b"{", Kind.DOCUMENT)
    (item,) = fsck(scope, directory_store).undecodable.items
    assert (item.what, item.name) == ("ref", f"{log.ref}, entry 00000009-0000000000000000.json")


@pytest.mark.parametrize("scope", ["none", "m:none", "none:latest", "m@" + "0" * 64, "m@00000000", "pin:eu/m"])
def test_what_is_not_in_the_store_is_not_found(store: Store, scope: str) -> None:
    fill(store)
    with pytest.raises(NotFoundError):
        fsck(scope, store)


def test_an_empty_place_is_no_store(store: Store) -> None:
    with pytest.raises(NotFoundError, match="there is no store"):
        fsck(None, store)


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_a_sample_fetches_its_share_and_finds_all_that_is_missing(store: Store, share: float) -> None:
    fill(store)
    for at in (1, 3, 9):
        store.bucket.delete(chunk_key(piece(NEW, at)))
    seen = set()
    for _ in range(6):
        watched = RecordingBucket(store.bucket)
        checked = fsck(None, Store(watched), sample=share)
        fetched = {key for key in watched.read if key.startswith("chunks/")}
        assert {item.name for item in checked.missing.items} == {named(piece(NEW, at)) for at in (1, 3, 9)}
        assert round(23 * share) <= len(fetched) <= round(23 * share) + 4
        seen |= fetched
    assert len(seen) > 23 * share + 4
    assert fsck("m:latest", store, sample=share).missing.count == 3


@pytest.mark.parametrize("share", [0, -0.1, 1.5, float("nan")])
def test_a_share_that_makes_no_sense_is_refused(directory_store: Store, share: float) -> None:
    fill(directory_store)
    with pytest.raises(InputError):
        fsck(None, directory_store, sample=share)


def test_the_command_says_it_in_lines_and_in_json(directory_store: Store) -> None:
    fill(directory_store)
    sound = call_cas("--store", directory_store.url, "fsck")
    assert (sound.returncode, sound.stdout) == (0, "")
    assert "3 versions, 23 chunks" in sound.stderr
    assert "1 chunks (65.6 kB) nothing needs: `cas --store " in sound.stderr
    edit(directory_store, piece(NEW, 8), flip)
    directory_store.bucket.delete(chunk_key(piece(NEW, 2)))
    done = call_cas("--store", directory_store.url, "fsck", "m")
    assert done.returncode == 4
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"missing      chunk {named(piece(NEW, 2))}, needed by m@blake3:")
    assert lines[0].endswith(" model.bin")
    assert lines[1].startswith(f"corrupt      chunk {named(piece(NEW, 8))}, needed by m@blake3:")
    assert len(lines) == 2
    assert "1 missing, 1 corrupt, 0 undecodable: repair it with `cas --store " in done.stderr
    assert " fsck m` and --repair-from" in done.stderr
    document = call_cas("--store", directory_store.url, "--json", "fsck", "m:latest", "--sample", "5%")
    assert document.returncode == 4
    told = json.loads(document.stdout)
    assert told["missing"]["count"] == 1
    assert told["missing"]["items"][0]["name"] == named(piece(NEW, 2))
    assert (told["sound"], told["sample"], told["scope"]) == (False, 0.05, "m:latest")
    for wrong in ("0", "101%", "x", "-5"):
        assert call_cas("--store", directory_store.url, "fsck", f"--sample={wrong}").returncode == 2


def test_only_so_many_names_are_told_and_all_are_counted(
    directory_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(directory_store)
    monkeypatch.setattr("cas.ops.fsck.report.SHOWN", 3)
    for at in range(12):
        directory_store.bucket.delete(chunk_key(piece(NEW, at)))
    checked = fsck("m:latest", directory_store)
    assert (checked.missing.count, len(checked.missing.items)) == (12, 3)
    assert all(isinstance(item, DamagedObject) for item in checked.missing.items)
