"""The file system `cas://`: listings, patterns, ranges, one version for a whole job, and no way to write."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from cas.errors import AccessDenied, CasError, InputError, StoreMissing
from cas.formats.digest import Buffer, hex_of
from cas.ops.read import shared_store
from cas.ops.read.filesystem import CasFileSystem
from cas.refs.reference import Reference, log_of, resolve
from cas.store.layout import chunk_key
from cas.store.store import Store
from tests.support.models import KIB, noise, put_model

CHUNK = 4 * KIB
FILES = {
    "config.json": b'{"a": 1}',
    "data/part-0.csv": b"a,b\n1,2\n",
    "data/part-1.csv": b"a,b\n3,4\n",
    "data/deep/er.bin": noise(10 * CHUNK),
    "model.safetensors": noise(3 * CHUNK),
}


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """fsspec and this process keep file systems and stores for ever."""
    yield
    CasFileSystem.clear_instance_cache()
    shared_store._by_url.clear()


@pytest.fixture
def files(directory_store: Store) -> CasFileSystem:
    put_model(directory_store, {"org/model": FILES}, chunk=CHUNK)
    fsspec.register_implementation("cas", CasFileSystem, clobber=True)  # as the entry point does where it is installed
    return CasFileSystem(directory_store.url)


def names(entries: object) -> list[str]:
    assert isinstance(entries, list)
    return [entry["name"] for entry in entries]


class TestListings:
    def test_the_root_has_tags_and_pins(self, files: CasFileSystem, directory_store: Store) -> None:
        digest = resolve(directory_store, "m").digest
        for reference in (Reference("m", tag="v1"), Reference("m", deployment="eu-prod")):
            log_of(directory_store, reference).append(digest, reason="test")
        assert files.ls("cas://", detail=False) == ["m:latest", "m:v1", "pin:eu-prod"]
        assert files.ls("pin:eu-prod") == [{"name": "pin:eu-prod/m", "size": 0, "type": "directory"}]
        assert "pin:eu-prod/m/config.json" in files.ls("cas://pin:eu-prod/m", detail=False)
        assert files.cat("cas://pin:eu-prod/m/config.json") == FILES["config.json"]
        with pytest.raises(FileNotFoundError, match="no pins of us"):
            files.ls("pin:us")
        with pytest.raises(FileNotFoundError, match="write cas://m:latest/data"):
            files.ls("cas:///m:latest/data")

    def test_a_path_without_its_repo(self, files: CasFileSystem, directory_store: Store) -> None:
        put_model(directory_store, {"org/a": FILES, "org/b": {"b.json": b"{}"}}, model="two", chunk=CHUNK)
        assert files.ls("two/b.json") == [files.info("two/b.json")]

    def test_a_place_without_a_store_is_no_empty_folder(self, files: CasFileSystem, tmp_path: Path) -> None:
        for path in ("", "pin:eu"):
            with pytest.raises(StoreMissing):
                CasFileSystem(str(tmp_path / "none")).ls(path)

    def test_a_folder_has_its_files_and_folders(self, files: CasFileSystem) -> None:
        assert files.ls("cas://m:latest", detail=False) == [
            "m:latest/data",
            "m:latest/config.json",
            "m:latest/model.safetensors",
        ]
        assert names(files.ls("m/data/")) == ["m/data/deep", "m/data/part-0.csv", "m/data/part-1.csv"]
        assert names(files.ls("m/config.json")) == ["m/config.json"]
        with pytest.raises(FileNotFoundError, match="has no file data/nothing"):
            files.ls("m/data/nothing")

    def test_infos(self, files: CasFileSystem) -> None:
        info = files.info("cas://m:latest/data/deep/er.bin")
        assert (info["name"], info["size"], info["type"]) == ("m:latest/data/deep/er.bin", 10 * CHUNK, "file")
        assert len(info["ETag"]) == 64
        assert files.info("m/data")["type"] == files.info("m")["type"] == files.info("")["type"] == "directory"
        assert files.size("m/config.json") == 8
        assert files.isdir("m/data") and files.isfile("m/config.json") and not files.isfile("m/data")
        assert not files.exists("m/dat") and not files.exists("other/x") and not files.isdir("other")

    def test_patterns_and_walks(self, files: CasFileSystem) -> None:
        assert files.glob("cas://m:latest/data/*.csv") == ["m:latest/data/part-0.csv", "m:latest/data/part-1.csv"]
        assert files.glob("m/**/*.bin") == ["m/data/deep/er.bin"]
        assert files.glob("m:*/config.json") == ["m:latest/config.json"]
        assert files.find("m:latest") == sorted(f"m:latest/{path}" for path in FILES)
        assert files.du("m:latest") == sum(map(len, FILES.values()))

    @pytest.mark.parametrize("form", ["m@{digest}", "m@{digest:.8}", "m@blake3:{digest}", "m", "m:latest"])
    def test_each_form_of_a_reference(self, form: str, files: CasFileSystem, directory_store: Store) -> None:
        reference = form.format(digest=resolve(directory_store, "m").digest)
        assert files.cat(f"cas://{reference}/config.json") == FILES["config.json"]
        assert fsspec.core.url_to_fs(f"cas://{reference}/data", store=directory_store.url)[1] == f"{reference}/data"


class TestReading:
    def test_open(self, files: CasFileSystem) -> None:
        with files.open("cas://m:latest/data/deep/er.bin") as file:
            file.seek(-5, io.SEEK_END)
            assert file.read() == FILES["data/deep/er.bin"][-5:]
        with files.open("m/data/part-0.csv", "r", encoding="utf-8") as lines:
            assert list(lines) == ["a,b\n", "1,2\n"]
        with files.open("m/config.json", "rt") as text:
            assert json.load(text) == {"a": 1}
        with pytest.raises(IsADirectoryError, match="name a file"):
            files.open("cas://")

    @pytest.mark.parametrize(
        ("start", "end"), [(0, 5), (5, None), (None, -5), (-9, None), (7, 3), (3, 10**9), (-(10**9), 4)]
    )
    def test_cat_file_takes_what_a_slice_takes(self, start: int | None, end: int | None, files: CasFileSystem) -> None:
        assert files.cat_file("m/data/deep/er.bin", start, end) == FILES["data/deep/er.bin"][start:end]

    def test_cat_ranges(self, files: CasFileSystem) -> None:
        big = FILES["data/deep/er.bin"]
        paths = ["m/data/deep/er.bin"] * 3 + ["m/config.json", "m/none"]
        found = files.cat_ranges(paths, [9, 0, -7, 0, 0], [CHUNK, 4, None, None, 1])
        assert found[:4] == [big[9:CHUNK], big[:4], big[-7:], FILES["config.json"]]
        assert isinstance(found[4], FileNotFoundError)
        assert files.cat_ranges(paths[:2], 3, 5) == [big[3:5]] * 2
        with pytest.raises(FileNotFoundError):
            files.cat_ranges(paths, 0, 1, on_error="raise")
        with pytest.raises(ValueError, match="as many"):
            files.cat_ranges(paths, [0], [1])

    def test_get_and_cat_of_many(self, files: CasFileSystem, tmp_path: Path) -> None:
        files.get("cas://m:latest/data", str(tmp_path / "copy"), recursive=True)
        assert (tmp_path / "copy/deep/er.bin").read_bytes() == FILES["data/deep/er.bin"]
        assert files.cat("m/data/*.csv") == {f"m/{path}": data for path, data in FILES.items() if ".csv" in path}

    def test_all_file_systems_of_a_store_share_what_is_in_memory(
        self, files: CasFileSystem, directory_store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read: list[str] = []
        real = Store.get_frame

        def get_frame(self: Store, ref: object, *words: object) -> Buffer:
            read.append(ref.digest)  # type: ignore[attr-defined]
            return real(self, ref, *words)  # type: ignore[arg-type]

        monkeypatch.setattr(Store, "get_frame", get_frame)
        other = CasFileSystem(directory_store.url, skip_instance_cache=True)
        assert other is not files
        assert files.cat("m/config.json") == other.cat("m/config.json")
        assert read == [hex_of(FILES["config.json"])]


class TestOneVersionForAJob:
    def test_a_moved_tag_is_followed_when_asked_to(self, files: CasFileSystem, directory_store: Store) -> None:
        assert files.cat("m/config.json") == FILES["config.json"]
        put_model(directory_store, {"org/model": {"config.json": b"new"}})
        assert files.cat("m/config.json") == FILES["config.json"]
        files.invalidate_cache()
        assert files.cat("m/config.json") == b"new"

    def test_it_is_the_same_where_it_is_pickled_to(self, files: CasFileSystem, directory_store: Store) -> None:
        files.ls("m:latest")
        pickled = pickle.dumps(files)
        opened = pickle.dumps(files.open("m/data/part-0.csv"))
        put_model(directory_store, {"org/model": {"config.json": b"new"}})
        self.be_another_process()
        assert CasFileSystem(directory_store.url).cat("m:latest/config.json") == b"new"
        again = pickle.loads(pickled)
        assert again.cat("m:latest/config.json") == FILES["config.json"]
        assert pickle.loads(opened).read() == FILES["data/part-0.csv"]

    def test_an_open_file_of_fsspec_is_pickled_with_it(self, files: CasFileSystem, directory_store: Store) -> None:
        lazy = fsspec.core.OpenFile(files, "m:latest/config.json", mode="rb")
        with lazy as file:
            file.read()
        pickled = pickle.dumps(lazy)
        put_model(directory_store, {"org/model": {"config.json": b"new"}})
        self.be_another_process()
        with pickle.loads(pickled) as file:
            assert file.read() == FILES["config.json"]

    @staticmethod
    def be_another_process() -> None:
        CasFileSystem.clear_instance_cache()
        shared_store._by_url.clear()


WRITES: dict[str, Callable[[CasFileSystem], object]] = {
    "open": lambda files: files.open("cas://m/new", "wb"),
    "append": lambda files: files.open("m/config.json", "ab"),
    "text": lambda files: files.open("m/config.json", "w"),
    "pipe": lambda files: files.pipe("m/new", b"x"),
    "touch": lambda files: files.touch("m/new"),
    "mkdir": lambda files: files.mkdir("m/new"),
    "makedirs": lambda files: files.makedirs("m/new/er"),
    "rm": lambda files: files.rm("m/config.json"),
    "rmdir": lambda files: files.rmdir("m/data"),
    "cp": lambda files: files.cp("m/config.json", "m/new"),
    "mv": lambda files: files.mv("m/config.json", "m/new"),
    "put": lambda files: files.put(__file__, "m/new"),
}


@pytest.mark.parametrize("how", WRITES)
def test_nothing_writes(how: str, files: CasFileSystem) -> None:
    with pytest.raises(PermissionError, match="cas:// is read only") as caught:
        WRITES[how](files)
    assert isinstance(caught.value, InputError)


def test_only_the_store_says_that_something_is_absent(
    files: CasFileSystem, directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Buffer:
        raise AccessDenied("no")

    assert files.exists("m")
    other = CasFileSystem(directory_store.url, skip_instance_cache=True)
    other.invalidate_cache()
    monkeypatch.setattr(Store, "get_manifest", refuse)
    for look in (other.exists, other.isfile, other.isdir):
        with pytest.raises(AccessDenied):
            look("m/config.json")
    with pytest.raises(StoreMissing):
        CasFileSystem(str(tmp_path / "nowhere")).exists("m/config.json")


@pytest.mark.parametrize("reference", ["not a name", "m@xyz", "m@1234"])
def test_what_is_no_reference(reference: str, files: CasFileSystem) -> None:
    with pytest.raises(InputError):
        files.exists(f"cas://{reference}/x")


def test_the_store_is_named_by_its_url(directory_store: Store) -> None:
    with pytest.raises(InputError, match="is a URL"):
        CasFileSystem(directory_store)  # type: ignore[arg-type]


def test_a_lost_chunk_is_an_error_of_ours(files: CasFileSystem, directory_store: Store) -> None:
    directory_store.bucket.delete(chunk_key(hex_of(FILES["config.json"])))
    with pytest.raises(CasError, match="is not in"):
        files.cat("m/config.json")


def test_the_default_store(directory_store: Store, files: CasFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAS_STORE", directory_store.url)
    assert CasFileSystem().cat("m/config.json") == FILES["config.json"]
