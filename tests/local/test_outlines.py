"""What this machine remembers of versions: bounded, disposable, and believed only from the user's own sound file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cas.formats.digest import named
from cas.formats.outline import Outline
from cas.local import outlines
from cas.local.outlines import Outlines

WORTH = 4 * 1024 * 1024  # bytes of manifests that are worth remembering
A, B = "a" * 64, "b" * 64
SHOWN = Outline("m", "2026-11-23T03:00:00Z", 12, 3, named(B), "cast:float16", named(B))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/model-cas/versions"


def remember(store: str = "s3://b/cas", digest: str = A) -> None:
    known = Outlines(store)
    known.add(digest, "12 tag", SHOWN)
    known.save(WORTH)


def test_a_version_is_remembered_until_it_is_written_anew(cache: Path) -> None:
    remember()
    remember(digest=B)
    known = Outlines("s3://b/cas")
    assert known.get(A, "12 tag") == known.get(B, "12 tag") == SHOWN
    assert known.get(A, "12 other") is None
    assert Outlines("s3://b/other").get(A, "12 tag") is None
    (file,) = cache.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_not_sound_counts_as_empty_and_is_written_anew(cache: Path) -> None:
    remember()
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    for wrong in (
        whole[:-5], b"", b"[" * 100_000, whole.replace(b'"version":1', b'"version":2'),
        whole.replace(b"2026-11-23T03:00:00Z", b"\\u001b[2J"), whole.replace(b"s3://b/cas", b"s3://c/cas"),
        whole.replace(A.encode(), b"../x"), b" " * (16 * 1024 * 1024) + whole,
    ):  # fmt: skip
        file.write_bytes(wrong)
        assert Outlines("s3://b/cas").get(A, "12 tag") is None, wrong[:40]
    remember()
    assert file.read_bytes() == whole


def test_a_planted_file_is_not_read(cache: Path, tmp_path: Path) -> None:
    remember()
    (file,) = cache.iterdir()
    file.chmod(0o666)
    assert Outlines("s3://b/cas").get(A, "12 tag") is None, "anybody may have written it"
    elsewhere = file.rename(tmp_path / "elsewhere")
    elsewhere.chmod(0o600)
    file.symlink_to(elsewhere)
    assert Outlines("s3://b/cas").get(A, "12 tag") is None
    remember()
    assert not file.is_symlink()
    assert Outlines("s3://b/cas").get(A, "12 tag") == SHOWN


def test_a_file_of_another_user_is_not_read(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert Outlines("s3://b/cas").get(A, "12 tag") is None


@pytest.mark.parametrize("place", ["", "relative", "/dev/null", "/proc/nowhere"])
def test_without_a_place_nothing_is_remembered(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", place)
    monkeypatch.setenv("HOME", "/dev/null")
    remember()
    assert Outlines("s3://b/cas").get(A, "12 tag") is None


def test_what_is_remembered_is_bounded(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlines, "_MOST_VERSIONS", 2)
    monkeypatch.setattr(outlines, "_MOST_STORES", 2)
    for digit in "123":
        remember(digest=digit * 64)
    known = Outlines("s3://b/cas")
    assert [known.get(digit * 64, "12 tag") for digit in "123"] == [None, SHOWN, SHOWN]
    (first,) = cache.iterdir()
    os.utime(first, (0, 0))
    for store in ("s3://b/2", "s3://b/3"):
        remember(store)
    assert len(list(cache.iterdir())) == 2
    assert not first.exists(), "the oldest goes"


def test_a_store_that_is_listed_quickly_leaves_no_file(cache: Path) -> None:
    known = Outlines("s3://b/cas")
    known.add(A, "12 tag", SHOWN)
    known.save(WORTH - 1)
    assert not cache.exists()
    known.save(WORTH)
    later = Outlines("s3://b/cas")  # what is remembered once is kept up to date
    later.add(B, "12 tag", SHOWN)
    later.save(1)
    assert Outlines("s3://b/cas").get(B, "12 tag") == SHOWN
