"""A publish meets something else where the hub cache, a source file or a folder should have a file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import cas
from cas.errors import InputError
from tests.support.hub import Site
from tests.support.models import REPO
from tests.support.planted import NO_FILES, PLANTS, plant


@pytest.mark.parametrize("what", ["a named pipe", "a device", "a folder", "a terabyte"])
@pytest.mark.parametrize("words", [(), ("--no-download",)])
def test_a_ref_of_the_cache_that_cannot_be_read_ends_the_publish(what: str, words: tuple[str, ...], full: Site) -> None:
    ref = full.repo / "refs/main"
    plant(what, ref)
    done = full.cas("publish", "m", "--repo", REPO, *words)
    assert done.returncode == 7, done.stderr
    assert str(ref) in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("what", ["a named pipe", "a device", "a terabyte", "nested lists", "other types"])
def test_a_listing_of_the_cache_that_cannot_be_read_counts_as_absent(what: str, full: Site) -> None:
    (commit,) = (full.repo / "snapshots").iterdir()
    plant(what, full.repo / "trees" / f"{commit.name}.json")
    done = full.cas("publish", "m", "--repo", REPO, "--no-download")
    assert done.returncode == 0, done.stderr
    assert "has no listing of" in done.stderr


@pytest.mark.parametrize("name", ["trees/x.json", f"blobs/{'a' * 64}.incomplete"])
def test_a_pipe_that_a_client_would_open_ends_the_publish(name: str, full: Site) -> None:
    plant("a named pipe", full.repo / name)
    done = full.cas("publish", "m", "--repo", REPO)
    assert done.returncode == 7, done.stderr
    assert str(full.repo / name) in done.stderr


@pytest.mark.parametrize("what", PLANTS)
def test_a_source_file_is_refused_by_its_name(what: str, tmp_path: Path) -> None:
    path = tmp_path / "source.toml"
    plant(what, path)
    with pytest.raises(InputError, match=re.escape(str(path))) as caught:
        cas.Source.from_file(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("text", ["x = " + "[" * 100_000, "x = " + "{a=" * 100_000, "files = " + "[" * 900 + "]" * 900])
def test_a_source_file_that_is_nested_deep_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "source.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(str(path))):
        cas.Source.from_file(path)


@pytest.mark.parametrize("what", [what for what in NO_FILES if what != "a folder"])
def test_a_folder_with_something_that_is_no_file_is_refused(what: str, full: Site, tmp_path: Path) -> None:
    plant(what, tmp_path / "weights/x.bin")
    done = full.cas("publish", "m", "--dir", str(tmp_path / "weights"), "--as", "org/x")
    assert done.returncode == 7, done.stderr
    assert f"{tmp_path}/weights/x.bin" in done.stderr
