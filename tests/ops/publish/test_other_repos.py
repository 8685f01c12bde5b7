"""A publish whose repos differ from what its tag holds says so, and wants --replace; and what --exclude leaves out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cas
from cas import events, refs
from cas.cli import publish as command
from cas.errors import InputError
from cas.hub.source import matching
from cas.refs.reflog import UNSET
from cas.store.store import Store
from tests.support.hub import Site
from tests.support.in_process import call_cas
from tests.support.models import REPO, write_tree

SOURCE = """
[[repo]]
id = "org/model"
exclude = ["*.txt"]
"""


@pytest.fixture
def folder(tmp_path: Path, directory_store: Store) -> Path:
    """A folder that is published as a repo `org/a` under two tags."""
    folder = write_tree(tmp_path / "folder", {"config.json": b"{}", "x.bin": b"x", "sub/x.bin": b"y"})
    cas.publish("m", cas.Source.from_folder(folder, "org/a"), directory_store, tags=["latest", "v1"])
    return folder


def repos_of(store: Store, reference: str) -> list[str]:
    return [repo.repo_id for repo in refs.resolve(store, reference).manifest.repos]


def test_other_repos_are_refused_unless_they_are_to_replace_the_first(folder: Path, directory_store: Store) -> None:
    words = ("--store", directory_store.url, "publish", "m", "--dir", str(folder), "--as", "org/b")
    for more in ((), ("--dry-run",), ("--force",), ("--tag", "new", "--tag", "v1")):
        ran = call_cas(*words, *more)
        assert ran.returncode == 2, ran.stderr
        tag = "v1" if "v1" in more else "latest"
        assert ran.stderr == (
            f"cas: m:{tag} holds org/a, and this would put org/b in its place: choose another model or --tag for it, "
            "or add --replace if that is meant\n"
        )
    assert repos_of(directory_store, "m") == ["org/a"]
    assert call_cas(*words, "--tag", "new").returncode == 0
    ran = call_cas(*words, "--replace")
    assert ran.returncode == 0
    assert "warning: m:latest held org/a; it is replaced by org/b" in ran.stderr
    assert (repos_of(directory_store, "m"), repos_of(directory_store, "m:v1")) == (["org/b"], ["org/a"])
    assert "warning" not in call_cas(*words, "--replace").stderr


def test_a_repo_that_is_gained_or_lost_counts(full: Site, folder: Path, directory_store: Store) -> None:
    both = cas.Source(cas.Source.from_repos([REPO]).repos, folder=cas.Source.from_folder(folder, "org/a").folder)
    told = "m:latest holds org/a, and this would put org/a, org/model in its place"
    with pytest.raises(InputError, match=told):
        cas.publish("m", both, directory_store, cache_dir=full.cache, download=False)
    cas.publish("m", both, directory_store, cache_dir=full.cache, download=False, replace=True)
    with pytest.raises(InputError, match="holds org/a, org/model, and this would put org/a in its place"):
        cas.publish("m", cas.Source.from_folder(folder, "org/a"), directory_store)


def test_new_content_of_the_same_repos_needs_no_leave(folder: Path, directory_store: Store) -> None:
    (folder / "x.bin").write_bytes(b"z")
    heard: list[events.Event] = []
    done = cas.publish("m", cas.Source.from_folder(folder, "org/a"), directory_store, on_event=heard.append)
    assert done.created
    assert not [event for event in heard if isinstance(event, events.Warned)]


def test_who_says_what_the_tag_names_is_told_who_moved_it(folder: Path, directory_store: Store) -> None:
    with pytest.raises(cas.CasError, match="was moved to"):
        cas.publish("m", cas.Source.from_folder(folder, "org/b"), directory_store, expect=UNSET)


# What is left out


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        (("--exclude", "*.bin"), ["config.json"]),
        (("--exclude", "sub/"), ["config.json", "x.bin"]),
        (("--include", "*.bin", "--exclude", "sub/*", "--exclude", "nothing"), ["x.bin"]),
    ],
)
def test_excluded_files_are_left_out(
    words: tuple[str, ...], paths: list[str], folder: Path, directory_store: Store
) -> None:
    ran = call_cas("--store", directory_store.url, "publish", "m", "--dir", str(folder), "--as", "org/a", *words)
    assert ran.returncode == 0, ran.stderr
    (repo,) = refs.resolve(directory_store, "m").manifest.repos
    assert [file.path for file in repo.files] == paths


def test_excluded_files_of_a_hubs_repo_are_not_even_downloaded(site: Site) -> None:
    ran = site.cas("publish", "m", "--repo", REPO, "--exclude", "*.bin", "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["created"]
    assert not list(site.cache.rglob("weights.bin"))
    assert list(site.cache.rglob("config.json"))


def test_a_source_file_can_exclude(full: Site, directory_store: Store, tmp_path: Path) -> None:
    (tmp_path / "source.toml").write_text(SOURCE)
    source = cas.Source.from_file(tmp_path / "source.toml")
    cas.publish("m", source, directory_store, cache_dir=full.cache, download=False)
    (repo,) = refs.resolve(directory_store, "m").manifest.repos
    assert repo.files
    assert not [file for file in repo.files if file.path.endswith(".txt")]


def test_excluding_everything_is_refused(folder: Path, directory_store: Store) -> None:
    with pytest.raises(InputError, match=r"the patterns to exclude \(\*, x\) leave no file of"):
        cas.publish("m", cas.Source.from_folder(folder, "org/a", exclude=["*", "x"]), directory_store)
    assert matching(["a", "b"], [], "here", ["b"]) == {"a"}


def test_a_source_file_has_its_own_patterns() -> None:
    with pytest.raises(InputError, match="--exclude goes with --repo or --dir"):
        command._source("f5-tts", (), ((), ("x",)), None, None)
