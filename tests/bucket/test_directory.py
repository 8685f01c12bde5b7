"""A directory store in which somebody left what is no object: it is left out, named once, and nothing waits for it."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cas.bucket import Bucket, Kind, open_bucket
from cas.bucket.directory.bucket import DirectoryBucket
from cas.bucket.object_store import ObjectBucket
from cas.errors import AccessDenied, CacheError, ObjectMissing
from tests.support.buckets import HURRIED
from tests.support.processes import bound_by_modes

KEYS = ["refs/a", "refs/b/c", "refs/ümläut 漢字 🎉"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def bucket(root: Path) -> Bucket:
    bucket = open_bucket(str(root), HURRIED)
    for key in KEYS:
        bucket.put(key, key.encode(), Kind.DOCUMENT)
    return bucket


def _fifo(root: Path) -> None:
    os.mkfifo(root / "refs/strange")


def _socket(root: Path) -> None:
    with socket.socket(socket.AF_UNIX) as unix:
        here = os.getcwd()
        os.chdir(root / "refs")  # the path of a socket is short
        try:
            unix.bind("strange")
        finally:
            os.chdir(here)


def _link_to_itself(root: Path) -> None:
    (root / "refs/strange").symlink_to("strange")


def _link_to_its_own_folder(root: Path) -> None:
    (root / "refs/b/strange").symlink_to("..")


def _link_to_nowhere(root: Path) -> None:
    (root / "refs/strange").symlink_to("/nowhere/at/all")


def _name_that_is_no_text(root: Path) -> None:
    with open(os.fsencode(root / "refs") + b"/\xff\xfestrange", "w", encoding="utf-8"):
        pass


def _control_character(root: Path) -> None:
    (root / "refs/\x1b[2Jstrange").touch()


def _folder_with_a_control_character(root: Path) -> None:
    (root / "refs/strange\r\n").mkdir()
    (root / "refs/strange\r\n/x").touch()


STRANGE = [
    _fifo,
    _socket,
    _link_to_itself,
    _link_to_its_own_folder,
    _link_to_nowhere,
    _name_that_is_no_text,
    _control_character,
    _folder_with_a_control_character,
]


@pytest.mark.parametrize("leave", STRANGE)
@pytest.mark.parametrize("prefix", ["refs", ""])
def test_a_strange_file_hides_no_other(
    root: Path, bucket: Bucket, caplog: pytest.LogCaptureFixture, leave: object, prefix: str
) -> None:
    caplog.set_level(logging.INFO, "cas.bucket")
    assert callable(leave)
    leave(root)
    for _ in range(2):
        assert [entry.key for entry in bucket.list(prefix)] == KEYS
    [record] = caplog.records
    assert "strange" in record.message
    assert record.message.isprintable()


def test_folders_behind_links_belong_to_the_store(root: Path, bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x").write_bytes(b"x")
    (root / "refs/link").symlink_to(tmp_path / "elsewhere")
    (root / "refs/link-2").symlink_to(tmp_path / "elsewhere/x")
    keys = [entry.key for entry in bucket.list("refs")]
    assert keys == sorted([*KEYS, "refs/link/x", "refs/link-2"])


def test_a_listing_and_a_look_say_of_a_file_what_obstore_says(bucket: DirectoryBucket) -> None:
    by_obstore = [ObjectBucket.head(bucket, key) for key in KEYS]
    assert bucket.list("refs") == [bucket.head(key) for key in KEYS] == by_obstore


def test_files_that_are_being_written_are_no_objects(root: Path, bucket: Bucket) -> None:
    (root / "refs/a#1").write_bytes(b"half")
    assert [entry.key for entry in bucket.list("refs")] == KEYS


def test_what_is_no_folder_lists_nothing(bucket: Bucket) -> None:
    assert bucket.list("refs/a") == bucket.list("absent") == []


def test_a_folder_that_cannot_be_read_is_an_error(root: Path, bucket: Bucket) -> None:
    listing = "import sys\nfrom cas.bucket import open_bucket\nopen_bucket(sys.argv[1]).list('refs')"
    command = bound_by_modes([sys.executable, "-c", listing, str(root)])
    (root / "refs/b").chmod(0)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    finally:
        (root / "refs/b").chmod(0o755)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("cas.errors.AccessDenied: ")
    assert "owner and mode" in last


def test_a_folder_that_cannot_be_listed_does_not_pass_for_an_empty_one(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> object:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(AccessDenied, match="owner and mode"):
        bucket.list("refs")


@pytest.mark.parametrize("key", ["refs/strange"])
def test_reading_a_fifo_does_not_wait(root: Path, bucket: Bucket, key: str) -> None:
    _fifo(root)
    with pytest.raises(CacheError, match="no regular file"):
        bucket.get(key, 100)
    with pytest.raises(CacheError, match="no regular file"):
        bucket.get_into(key, memoryview(bytearray(100)))
    with pytest.raises(CacheError, match="no regular file"):
        bucket.head(key)


def test_a_broken_link_is_absent(root: Path, bucket: Bucket) -> None:
    _link_to_nowhere(root)
    with pytest.raises(ObjectMissing):
        bucket.get("refs/strange", 100)
