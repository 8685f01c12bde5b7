"""An archive as a store: read where it lies, by every command that reads, and never written."""

from __future__ import annotations

from pathlib import Path

import pytest

import cas
from cas.bucket import Bucket, Kind, open_bucket
from cas.errors import CacheError, FormatError, IntegrityError, ObjectMissing, ObjectTooLarge, StoreError, Unsupported
from cas.formats.archive import END, header, padding
from cas.ops.fsck.checker import fsck
from cas.ops.serve.catalog import Catalog
from cas.ops.transfer.exporter import export
from cas.store.layout import LEASES
from cas.store.store import Store, open_store
from tests.support.damage import edit, flip, piece
from tests.support.in_process import call_cas, cas_json
from tests.support.models import read_tree, snapshot
from tests.support.transfer import FILES, NEXT, filled

OBJECTS = {"a/10": b"data", "a/9": bytes(range(256)) * 4, "a/b/c": b"", "ab/x": b"x" * 512, "a.json": b"{}"}


def written(path: Path, members: dict[str, bytes], end: bytes = END) -> str:
    made = b"".join(header(name, len(data)) + data + padding(len(data)) for name, data in members.items())
    path.write_bytes(made + end)
    return str(path)


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    """An archive of OBJECTS."""
    return open_bucket(written(tmp_path / "x.cas", OBJECTS))


class TestContract:
    """What a store may rely on in a bucket that is only read (test_bucket.py has the rest)."""

    def test_objects_come_back(self, bucket: Bucket) -> None:
        for key, data in OBJECTS.items():
            assert bytes(bucket.get(key, limit=len(data))) == data
            into = memoryview(bytearray(2000))
            assert into[: bucket.get_into(key, into)] == data
            assert (bucket.head(key).size, bucket.exists(key)) == (len(data), True)

    def test_absent_is_said_of_what_is_absent(self, bucket: Bucket) -> None:
        for key in ("none", "a", "a/b", "a/b/c/d", "", "../x"):
            assert not bucket.exists(key)
            with pytest.raises(ObjectMissing):
                bucket.get(key, limit=1)

    def test_more_than_the_limit_is_refused(self, bucket: Bucket) -> None:
        with pytest.raises(ObjectTooLarge, match="4 bytes where at most 3"):
            bucket.get("a/10", limit=3)
        with pytest.raises(ObjectTooLarge):
            bucket.get_into("a/10", memoryview(bytearray(3)))

    def test_parts(self, bucket: Bucket) -> None:
        assert bytes(bucket.get_range("a/9", 250, 10).data) == OBJECTS["a/9"][250:260]
        assert bucket.get_range("a/9", 0, 1).tag == bucket.head("a/9").tag
        with pytest.raises(StoreError, match="get a/9"):
            bucket.get_range("a/9", 1020, 5)

    def test_a_listing_shows_a_whole_folder_in_order(self, bucket: Bucket) -> None:
        assert [entry.key for entry in bucket.list("a")] == ["a/10", "a/9", "a/b/c"]
        assert [entry.key for entry in bucket.list("")] == sorted(OBJECTS)
        assert bucket.list("none") == bucket.list("a/1") == []

    def test_nothing_is_written(self, bucket: Bucket) -> None:
        for write in (lambda: bucket.put("k", b"", Kind.DOCUMENT), lambda: bucket.delete("a/10")):
            with pytest.raises(Unsupported, match="is an archive, which is read only"):
                write()


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear Sir, " * 100)
    (tmp_path / "empty").touch()
    for name in ("letter.txt", "empty"):
        with pytest.raises(CacheError, match="is a file: name a directory"):
            open_bucket(str(tmp_path / name))


def test_damaged_and_hostile_archives(tmp_path: Path) -> None:
    whole = Path(written(tmp_path / "x.cas", OBJECTS)).read_bytes()
    for at in (len(whole) - 1024, len(whole) - 1500, 600):
        (tmp_path / "cut.cas").write_bytes(whole[:at])
        with pytest.raises(IntegrityError, match=r"cut\.cas is cut short: it ends at byte"):
            open_bucket(str(tmp_path / "cut.cas")).list("")
    broken = bytearray(whole)
    broken[1024] ^= 1
    (tmp_path / "broken.cas").write_bytes(broken)
    with pytest.raises(FormatError, match="no header of a tar file at byte 1024"):
        open_bucket(str(tmp_path / "broken.cas")).list("")
    twice = b"".join(header("a", 0) for _ in range(2)) + END
    (tmp_path / "twice.cas").write_bytes(twice)
    with pytest.raises(FormatError, match="holds a twice"):
        open_bucket(str(tmp_path / "twice.cas")).get("a", 1)
    assert open_bucket(written(tmp_path / "odd.cas", {"../x": b"", "/y": b"", "a\nb": b""})).list("") == []


def test_every_command_that_reads_takes_an_archive(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    filled(directory_store, NEXT, model="n")
    file = str(tmp_path / "model.cas")
    export(["m", "n"], file, directory_store)
    archive = open_store(file)
    assert read_tree(snapshot(cas.restore("m", archive, cache_dir=tmp_path / "hub"), "org/m")) == FILES
    assert fsck(None, archive).sound
    digest = cas_json(directory_store, "show", "m")["digest"]
    assert [(version["model"], version["tags"]) for version in cas_json(file, "ls")] == [
        ("m", ["latest"]),
        ("n", ["latest"]),
    ]
    shown = cas_json(file, "show", "m")
    assert (shown["digest"], shown["created"]) == (digest, cas_json(directory_store, "show", "m")["created"])
    for words in (
        ("tree",),
        ("du",),
        ("diff", "m", "n"),
        ("history", "m"),
        ("pins",),
        ("lock", "m", "-o", f"{file}.lock"),
    ):
        assert call_cas("--store", file, *words).returncode == 0, words
    assert [hosted.repo.repo_id for hosted in Catalog(archive).repos()] == ["org/m", "org/n"]
    assert call_cas("--store", file, "restore", "m", "--receipt", "--cache-dir", str(tmp_path / "hub")).returncode == 0


@pytest.mark.parametrize(
    "words",
    [("tag", "m", "x"), ("pin", "eu", "m"), ("gc",), ("init", "--json"), ("copy", "m"), ("import",)],
    ids=" ".join,
)
def test_no_command_writes_to_one(directory_store: Store, tmp_path: Path, words: tuple[str, ...]) -> None:
    filled(directory_store)
    file = tmp_path / "model.cas"
    export(["m"], file, directory_store)
    before = file.read_bytes()
    if words[0] == "copy":
        done = call_cas("--store", directory_store.url, *words, str(file))
    else:
        done = call_cas("--store", str(file), *words, *([str(file)] if words[0] == "import" else []))
    assert done.returncode == (0 if words[0] == "init" else 6), done.stderr
    assert words[0] == "init" or "is an archive, which is read only" in done.stderr
    assert file.read_bytes() == before


def test_a_store_is_repaired_from_an_archive(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    file = str(tmp_path / "model.cas")
    export(["m"], file, directory_store)
    edit(directory_store, piece(FILES, 3), flip)
    checked = fsck(None, directory_store, repair_from=[file])
    assert (checked.left, checked.repaired.count) == (0, 1)
    assert directory_store.bucket.list(LEASES)


def test_doctor_says_that_an_archive_is_read_only(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    export(["m"], tmp_path / "model.cas", directory_store)
    done = call_cas("--store", str(tmp_path / "model.cas"), "doctor", "--role", "publisher")
    assert done.returncode == 2
    assert "archives are read only" in done.stdout and "`cas import`" in done.stdout
