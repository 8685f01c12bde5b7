"""`cas publish --repo`: the real huggingface_hub client against a hub on this machine."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import cas
from cas import refs
from cas.errors import CasError, InputError, NotFoundError
from cas.formats.manifest import Manifest
from cas.store.store import open_store
from tests.support.hub import FILES, Site, WatchedHub
from tests.support.models import REPO, read_tree, snapshot, write_tree


def published(site: Site, reference: str = "m") -> Manifest:
    return refs.resolve(open_store(str(site.store)), reference).manifest


def paths(manifest: Manifest) -> list[str]:
    return [file.path for file in manifest.all_files()]


def commit_of(site: Site) -> str:
    folder = site.hub.folder(REPO)
    assert folder
    return folder.head().sha


def test_a_repo_is_downloaded_published_and_restored_byte_for_byte(site: Site, tmp_path: Path) -> None:
    site.env["HF_TOKEN"] = "hf_secret_of_mine"
    done = site.cas("--progress", "json", "publish", "m", "--repo", REPO)
    assert done.returncode == 0, done.stderr
    repo = published(site).repos[0]
    assert (repo.repo_id, repo.commit, repo.refs) == (REPO, commit_of(site), ("main",))
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    download = [line for line in lines if line.get("phase") == "download"]
    assert (
        [download[0]["done"], download[-1]["done"]] == [0, download[-1]["total"]] == [0, sum(map(len, FILES.values()))]
    )
    assert done.stdout.strip() == refs.resolve(open_store(str(site.store)), "m").exact
    restored = cas.restore("m", str(site.store), cache_dir=tmp_path / "other/hub")
    assert read_tree(snapshot(restored)) == FILES
    assert isinstance(site.hub, WatchedHub)
    assert "Bearer hf_secret_of_mine" in site.hub.tokens
    assert "hf_secret_of_mine" not in done.stdout + done.stderr


@pytest.mark.parametrize(("revision", "written"), [("", "main"), ("@main", "main"), ("@COMMIT", "main")])
def test_revisions_and_the_refs_that_a_restore_writes(full: Site, revision: str, written: str) -> None:
    word = REPO + revision.replace("COMMIT", commit_of(full))
    source = cas.Source.from_repos([word])
    cas.publish("m", source, str(full.store), cache_dir=full.cache, download=False)
    repo = published(full).repos[0]
    assert (repo.commit, repo.refs) == (commit_of(full), (written,))


def test_a_tag_of_the_repo_becomes_a_ref(full: Site) -> None:
    (full.repo / "refs/v1.0").write_text(commit_of(full))
    source = cas.Source.from_repos([f"{REPO}@v1.0"])
    cas.publish("m", source, str(full.store), cache_dir=full.cache, download=False)
    assert published(full).repos[0].refs == ("v1.0",)


@pytest.mark.parametrize(
    ("include", "wanted"),
    [
        (["*.txt"], ["empty.txt", "vocab.txt"]),
        (["onnx/"], ["onnx/deep/model.onnx"]),
        (["*.onnx", "config.json"], ["config.json", "onnx/deep/model.onnx"]),
        ([], sorted(FILES)),
    ],
)
def test_include_chooses_as_huggingface_hub_does(full: Site, include: list[str], wanted: list[str]) -> None:
    source = cas.Source.from_repos([REPO], include)
    cas.publish("m", source, str(full.store), cache_dir=full.cache, download=False)
    assert paths(published(full)) == wanted


def test_include_downloads_nothing_else_and_a_pattern_without_a_match_is_an_error(site: Site) -> None:
    done = site.cas("publish", "m", "--repo", REPO, "--include", "*.txt")
    assert done.returncode == 0, done.stderr
    assert paths(published(site)) == ["empty.txt", "vocab.txt"]
    assert not any(path.endswith("weights.bin") for _, path in site.hub.requests)
    none = site.cas("publish", "m", "--repo", REPO, "--include", "*.txt", "--include", "*.none")
    only = site.cas("publish", "new", "--repo", REPO, "--include", "*.none")
    for failed in (none, only):
        assert failed.returncode == 2
        assert "'*.none' matches no file" in failed.stderr.splitlines()[-1]


def test_what_was_not_downloaded_is_told_by_the_listing(site: Site) -> None:
    absent = site.cas("publish", "m", "--repo", REPO, "--no-download")
    assert (absent.returncode, absent.stdout) == (3, "")
    assert "download it first, or leave out --no-download" in absent.stderr
    assert site.hub.requests == []
    site.cas("publish", "m", "--repo", REPO, "--include", "*.txt", "--tag", "part")
    partial = site.cas("publish", "m", "--repo", REPO, "--no-download")
    assert partial.returncode == 3
    assert "3 in all" in partial.stderr
    assert "config.json is missing" in partial.stderr
    whole = site.cas("publish", "m", "--repo", REPO)
    assert whole.returncode == 0, whole.stderr
    assert paths(published(site)) == sorted(FILES)


def test_an_old_cache_without_a_listing_is_published_with_a_warning(full: Site) -> None:
    shutil.rmtree(full.repo / "trees")
    done = full.cas("publish", "m", "--repo", REPO, "--no-download")
    assert done.returncode == 0, done.stderr
    assert "has no listing" in done.stderr
    assert paths(published(full)) == sorted(FILES)


@pytest.mark.parametrize(
    ("word", "code", "told"),
    [("org/none", 3, "org/none is not on"), (f"{REPO}@none", 3, "no revision none"), ("org/gated", 6, "gated")],
)
def test_the_hub_refuses(full: Site, word: str, code: int, told: str) -> None:
    write_tree(full.hub.root / "org/gated", {"a": b"1"})
    assert isinstance(full.hub, WatchedHub)
    full.hub.gated.add("org/gated")
    done = full.cas("publish", "m", "--repo", word)
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not full.store.exists()


def test_access_that_was_withdrawn_is_an_error_although_the_cache_has_it_all(full: Site) -> None:
    assert isinstance(full.hub, WatchedHub)
    full.hub.gated.add(REPO)
    assert full.cas("publish", "m", "--repo", REPO).returncode == 6
    assert full.cas("publish", "m", "--repo", REPO, "--no-download").returncode == 0


@pytest.mark.parametrize("how", ["503", "refused", "offline"])
def test_with_the_hub_down_a_complete_cache_is_published_and_said_so(full: Site, how: str) -> None:
    if how == "503":
        full.hub.down = True
    elif how == "refused":
        full.env["HF_ENDPOINT"] = "http://127.0.0.1:9"
    else:
        full.env["HF_HUB_OFFLINE"] = "1"
    begun = time.monotonic()
    done = full.cas("publish", "m", "--repo", REPO)
    assert done.returncode == 0, done.stderr
    assert "warning: " in done.stderr
    assert f"looking for it in {full.cache}" in done.stderr
    assert paths(published(full)) == sorted(FILES)
    assert time.monotonic() - begun < 30


def test_with_the_hub_down_an_incomplete_cache_is_an_error(full: Site) -> None:
    full.hub.down = True
    next(full.repo.glob("snapshots/*/weights.bin")).unlink()
    done = full.cas("publish", "m", "--repo", REPO)
    assert done.returncode == 6, done.stderr
    assert "is not completely in" in done.stderr.splitlines()[-1]
    assert not full.store.exists()
    shutil.rmtree(full.cache)
    assert full.cas("publish", "m", "--repo", REPO).returncode == 6


def test_several_repos_and_tags_in_one_version(site: Site) -> None:
    write_tree(site.hub.root / "org/vocoder", {"v.bin": b"v" * 100})
    words = ("--repo", REPO, "--repo", "org/vocoder", "--tag", "v1", "--tag", "latest", "--tag", "v1")
    done = site.cas("--json", "publish", "m", *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["moved"] == ["v1", "latest"]
    assert [repo.repo_id for repo in published(site).repos] == [REPO, "org/vocoder"]
    assert published(site, "m:v1") == published(site, "m:latest")


def test_a_repo_named_twice_is_refused(full: Site) -> None:
    for words in ([REPO, REPO], [REPO, f"{REPO}@{commit_of(full)}"]):
        with pytest.raises(InputError, match="named twice"):
            cas.publish("m", cas.Source.from_repos(words), str(full.store), cache_dir=full.cache, download=False)


@pytest.mark.parametrize(
    "word", ["", "a/b/c", "a b", "org/m@", "org/a--b", "../x", f"{REPO}@../../x", f"{REPO}@a\\b", "a..b"]
)
def test_texts_that_are_no_repo(word: str) -> None:
    with pytest.raises(InputError):
        cas.Source.from_repos([word])


@pytest.mark.parametrize("quiet", [True, False])
def test_one_bar_shows_a_download_on_a_terminal_unless_quiet(site: Site, quiet: bool) -> None:
    leader, follower = pty.openpty()
    words = [sys.executable, "-m", "cas", *["-q"] * quiet, "publish", "m", "--repo", REPO]
    env = {**os.environ, **site.variables(), "TERM": "xterm"}
    done = subprocess.run(words, env=env, stdout=subprocess.PIPE, stderr=follower, timeout=60, check=False)
    os.set_blocking(leader, False)
    os.close(follower)
    try:
        shown = os.read(leader, 65536)
    except OSError:  # nothing, and nobody who could write
        shown = b""
    os.close(leader)
    assert done.returncode == 0
    assert bool(shown) != quiet
    lines = [line for line in re.split(r"\r\x1b\[2K|\r\n", shown.decode()) if line]
    ours = ("downloading from the hub ", "hashing ", "asking ", "uploading ", "made a new store", "published m ")
    assert all(line.startswith(ours) for line in lines), "no bar of huggingface_hub's"
    if not quiet:
        total = sum(map(len, FILES.values())) / 1e6
        assert any(re.match(rf"downloading from the hub .*{total:.1f}/{total:.1f} MB", line) for line in lines), lines


def test_a_cache_that_cannot_be_written_is_named(site: Site) -> None:
    site.cache.write_text("a file")
    done = site.cas("publish", "m", "--repo", REPO)
    assert done.returncode == 7, done.stderr
    assert str(site.cache) in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_ref_that_holds_no_commit(full: Site) -> None:
    (full.repo / "refs/main").write_text("nonsense")
    with pytest.raises(CasError, match="not a commit"):
        cas.publish("m", cas.Source.from_repos([REPO]), str(full.store), cache_dir=full.cache, download=False)
    with pytest.raises(NotFoundError, match="dev is not in the hub cache"):
        source = cas.Source.from_repos([f"{REPO}@dev"])
        cas.publish("m", source, str(full.store), cache_dir=full.cache, download=False)
