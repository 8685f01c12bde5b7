"""`cas.open_file`: as a file of the disk, with each chunk fetched once, and ahead when it is read in order."""

from __future__ import annotations

import io
import pickle
import threading
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cas
from cas.errors import ChunkCorrupt, InputError, NotFoundError
from cas.formats.digest import hex_of
from cas.ops.read import opened_file
from cas.ops.read.opened_file import StoredFileReader
from cas.store.store import Store
from tests.support.buckets import RecordingBucket
from tests.support.damage import edit, flip
from tests.support.models import KIB, noise, put_model
from tests.support.processes import until

CHUNK = 4 * KIB
DATA = noise(20 * CHUNK + 100)
LINES = b"".join(b"line %d\n" % number for number in range(3000))


def digests(data: bytes = DATA) -> list[str]:
    return [hex_of(data[at : at + CHUNK]) for at in range(0, len(data), CHUNK)]


@pytest.fixture(autouse=True)
def small_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A buffer that is smaller than the small chunks of these tests."""
    monkeypatch.setattr(opened_file, "_BUFFER", KIB)


class Opened:
    """A store with one file of 21 chunks, which records what is read."""

    def __init__(self, store: Store) -> None:
        put_model(store, {"org/model": {"data.bin": DATA, "text/lines.txt": LINES, "empty": b""}}, chunk=CHUNK)
        self.bucket = RecordingBucket(store.bucket)
        self.store = Store(self.bucket)

    def open(self, path: str = "data.bin") -> StoredFileReader:
        return cas.open_file("m", path, self.store)

    def fetched(self) -> list[int]:
        """Indexes in data.bin of the chunks that were fetched, in order."""
        known = digests()
        return [known.index(digest) for digest in self.bucket.chunks]


@pytest.fixture
def opened(directory_store: Store) -> Opened:
    return Opened(directory_store)


def test_it_reads_as_a_file_of_the_disk_does(store: Store) -> None:
    opened = Opened(store)
    with opened.open() as file:
        assert (file.size, file.name, file.tell()) == (len(DATA), "data.bin", 0)
        assert file.readable() and file.seekable() and not file.writable()
        assert file.read(10) == DATA[:10]
        assert file.seek(-50, io.SEEK_END) == len(DATA) - 50
        assert file.read() == DATA[-50:]
        assert file.read(5) == b""
        assert file.seek(3 * CHUNK - 5) and file.read(10) == DATA[3 * CHUNK - 5 : 3 * CHUNK + 5]
        assert file.seek(0) == 0 and file.read() == DATA
        assert file.seek(len(DATA) + 7) and file.read(1) == b""
        buffer = bytearray(3 * CHUNK)
        file.seek(CHUNK + 1)
        assert file.readinto(buffer) == len(buffer) and buffer == DATA[CHUNK + 1 : 4 * CHUNK + 1]
    assert file.closed
    with pytest.raises(ValueError, match="closed"):
        file.read(1)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("seek"), st.integers(0, len(LINES) + 9), st.just(0)),
        st.tuples(st.just("seek"), st.integers(-len(LINES), 9), st.just(2)),
        st.tuples(st.just("read"), st.integers(-1, 3 * CHUNK)),
        st.tuples(st.just("read1"), st.integers(0, 2 * CHUNK)),
        st.tuples(st.just("readline")),
        st.tuples(st.just("tell")),
    ),
    max_size=30,
)


@pytest.fixture(scope="module")
def module_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Opened(cas.open_store(str(tmp_path_factory.mktemp("store")))).store


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_calls_give_what_a_file_in_memory_gives(steps: list[tuple[str, int]], module_store: Store) -> None:
    with cas.open_file("m", "text/lines.txt", module_store) as file:
        like = io.BytesIO(LINES)
        for name, *words in steps:
            got, wanted = getattr(file, name)(*words), getattr(like, name)(*words)
            if name == "read1":  # may return less, but not nothing where there is something
                assert wanted.startswith(got) and bool(got) == bool(wanted)
                like.seek(file.tell())
            else:
                assert got == wanted


@pytest.mark.parametrize(("offset", "whence"), [(-1, 0), (-len(DATA) - 1, 2)])
def test_nobody_seeks_before_the_beginning(offset: int, whence: int, opened: Opened) -> None:
    with opened.open() as file, pytest.raises(OSError, match="before the beginning"):
        file.seek(offset, whence)


def test_an_empty_file(opened: Opened) -> None:
    with opened.open("empty") as file:
        assert file.read() == b"" and file.read(1) == b"" and file.size == 0


def test_text_and_archives(directory_store: Store) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("inside.txt", LINES)
        made.writestr("noise", noise(50 * KIB))
    put_model(directory_store, {"org/model": {"a.zip": archive.getvalue(), "l.txt": LINES}}, chunk=CHUNK)
    with zipfile.ZipFile(cas.open_file("m", "a.zip", directory_store)) as read:
        assert read.read("inside.txt") == LINES and read.testzip() is None
    with io.TextIOWrapper(cas.open_file("m", "l.txt", directory_store), "utf-8") as lines:
        assert [line.rstrip("\n") for line in lines] == LINES.decode().splitlines()


def test_a_look_here_and_there_fetches_the_chunks_that_are_looked_at(opened: Opened) -> None:
    with opened.open() as file:
        for index in (17, 3, 9):
            file.seek(index * CHUNK + 5)
            assert file.raw.read(10) == DATA[index * CHUNK + 5 : index * CHUNK + 15]
    assert opened.fetched() == [17, 3, 9]


def test_reading_in_order_fetches_ahead_and_each_chunk_once(opened: Opened) -> None:
    with opened.open() as file:
        file.raw.read(CHUNK)
        assert opened.fetched() == [0], "a look at the beginning is no reading in order yet"
        file.raw.read(10)
        until(lambda: len(opened.fetched()) == 4)
        assert sorted(opened.fetched()) == [0, 1, 2, 3], "two chunks ahead"
        file.raw.read(CHUNK)  # to the end of the chunk
        file.raw.read(1)
        until(lambda: len(opened.fetched()) == 7)
        file.seek(0)
        assert file.read() == DATA
    assert sorted(opened.fetched()) == list(range(21))


def test_one_large_read_fetches_all_that_it_wants_at_once(opened: Opened) -> None:
    with opened.open() as file:
        file.seek(2 * CHUNK)
        assert file.raw.readinto(bytearray(3 * CHUNK)) == CHUNK
        until(lambda: len(opened.fetched()) == 3)
        assert sorted(opened.fetched()) == [2, 3, 4]


def test_files_of_one_store_share_what_is_in_memory(opened: Opened) -> None:
    with opened.open() as one, opened.open() as other:
        assert one.read(10) == other.read(10) == DATA[:10]
    assert opened.fetched() == [0]


def test_several_threads_read_files_of_their_own(opened: Opened) -> None:
    found: list[bytes] = []

    def read() -> None:
        with opened.open() as file:
            found.append(file.read())

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [DATA] * 6
    assert sorted(opened.fetched()) == list(range(21))


def test_no_byte_of_a_damaged_chunk_is_returned(opened: Opened, directory_store: Store) -> None:
    edit(directory_store, digests()[2], flip)
    with opened.open() as file:
        assert file.read(2 * CHUNK) == DATA[: 2 * CHUNK]
        with pytest.raises(ChunkCorrupt, match=digests()[2]):
            file.read(1)
        file.seek(3 * CHUNK)
        assert file.read(5) == DATA[3 * CHUNK : 3 * CHUNK + 5]


def test_the_file_stays_of_one_version_and_can_be_pickled(directory_store: Store) -> None:
    put_model(directory_store, {"org/model": {"a": DATA}}, chunk=CHUNK)
    file = cas.open_file("m", "a", directory_store.url)
    file.seek(CHUNK + 1)
    pickled = pickle.dumps(file)
    put_model(directory_store, {"org/model": {"a": LINES}}, chunk=CHUNK)
    again = pickle.loads(pickled)
    with file, again:
        assert file.read(9) == again.read(9) == DATA[CHUNK + 1 : CHUNK + 10]
        assert again.reference == file.reference and "@blake3:" in again.reference
    with pytest.raises(ValueError, match="closed"):
        pickle.dumps(file)
    with cas.open_file("m", "a", directory_store.url) as new:
        assert new.read() == LINES


def test_a_lock_file_names_the_version(directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {"org/model": {"a": DATA}})
    lock = tmp_path / "m.json"
    cas.write_lock("m", directory_store, lock)
    with cas.open_file(cas.read_lock(lock), "a", directory_store.url) as file:
        assert file.read(3) == DATA[:3]


class TestNames:
    @pytest.fixture
    def two(self, directory_store: Store) -> Store:
        files = {"config.json": b"{}", "only/here.bin": b"here"}
        put_model(
            directory_store, {"org/a": files, "org/b": {"config.json": b"[]"}}, plain_files={"torch/hub/w.pth": b"w"}
        )
        return directory_store

    @pytest.mark.parametrize(
        ("path", "data"),
        [
            ("org/a/config.json", b"{}"),
            ("org/b/config.json", b"[]"),
            ("org/a/only/here.bin", b"here"),
            ("only/here.bin", b"here"),
            ("torch/hub/w.pth", b"w"),
        ],
    )
    def test_of_several_repos(self, path: str, data: bytes, two: Store) -> None:
        with cas.open_file("m", path, two) as file:
            assert file.read() == data

    @pytest.mark.parametrize(
        ("path", "said"),
        [
            ("config.json", "org/a/config.json or org/b/config.json"),
            ("org/a/confg.json", "there is org/a/config.json"),
            ("nothing/like/it/at/all", "there is org/a/config.json"),
            ("../org/a/config.json", "has no file"),
        ],
    )
    def test_what_is_no_file(self, path: str, said: str, two: Store) -> None:
        with pytest.raises(FileNotFoundError, match=said) as caught:
            cas.open_file("m", path, two)
        assert isinstance(caught.value, NotFoundError)

    @pytest.mark.parametrize("path", ["org/a", "org/", "", "torch"])
    def test_folders(self, path: str, two: Store) -> None:
        with pytest.raises(IsADirectoryError, match="is a folder") as caught:
            cas.open_file("m", path, two)
        assert isinstance(caught.value, InputError)

    @pytest.mark.parametrize("reference", ["other", "m:none", "pin:eu/m", "m@blake3:" + "0" * 64])
    def test_of_a_version_that_is_not_there(self, reference: str, two: Store) -> None:
        with pytest.raises(NotFoundError):
            cas.open_file(reference, "config.json", two)
