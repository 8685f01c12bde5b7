"""A worker removes what is damaged from the folder of its repo, and nothing elsewhere, whatever the links say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cas.hub.source import RepoSource, Source
from cas.local.fs import is_inside
from tests.hub.hostile_hub import LIES, hostile_hub
from tests.support.models import write_tree
from tests.worker.station import Station
from worker.model import hub_space

WEIGHTS = "F5TTS_v1_Base/model_1250000.safetensors"


def test_a_damaged_blob_that_is_a_link_is_replaced_and_its_target_stays(station: Station, tmp_path: Path) -> None:
    station.boot()
    (repo,) = (station.directories[0] / "hub").glob("models--SWivid*")
    elsewhere = write_tree(tmp_path / "elsewhere", {"precious": b"of somebody else", WEIGHTS: b"also precious"})
    (link,) = repo.glob(f"snapshots/*/{WEIGHTS}")
    blob = link.resolve()
    blob.unlink()
    blob.symlink_to(elsewhere / "precious")
    (repo / "snapshots" / ("a" * 40)).symlink_to(elsewhere)
    (repo / "snapshots" / ("b" * 40) / WEIGHTS).mkdir(parents=True)
    ran = station.boot()
    station.check(ran)
    assert "is not what its name says" in ran.receipt["errors"][0]
    assert (elsewhere / "precious").read_bytes() == b"of somebody else"
    assert (elsewhere / WEIGHTS).read_bytes() == b"also precious"
    assert not blob.is_symlink()


@pytest.mark.parametrize("linked", ["blobs", "snapshots"])
def test_what_a_broken_off_download_left_is_removed_from_the_repo_alone(tmp_path: Path, linked: str) -> None:
    repo = write_tree(tmp_path / "hub/models--o--m", {"blobs/new": b"new", f"snapshots/{'c' * 40}/new": b"new"})
    elsewhere = tmp_path / "elsewhere"
    (repo / linked).rename(elsewhere)
    (repo / linked).symlink_to(elsewhere)
    before = {path for path in elsewhere.rglob("*") if path.is_file()}
    hub_space.remove_new_files(Source((RepoSource("o/m"),)), tmp_path / "hub", frozenset())
    assert {path for path in elsewhere.rglob("*") if path.is_file()} == before
    others = [path for path in repo.rglob("*") if path.is_file() and elsewhere not in path.resolve().parents]
    assert others == []


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("repo/a", True),
        ("repo/link", True),
        ("repo/sub/../a", True),
        ("repo/link/a", False),
        ("repo/../other/a", False),
        ("repository/a", False),
        ("repo/none/..", False),
        ("other/a", False),
    ],
)
def test_inside_is_told_after_the_links_on_the_way(tmp_path: Path, path: str, inside: bool) -> None:
    write_tree(tmp_path, {"repo/sub/a": b"", "other/a": b"", "repository/a": b""})
    (tmp_path / "repo/link").symlink_to(tmp_path / "other")
    assert is_inside(Path(f"{tmp_path}/{path}"), tmp_path / "repo") == inside
    os.symlink(tmp_path / "repo", tmp_path / "moved")
    assert is_inside(tmp_path / "moved/a", tmp_path / "moved")


@pytest.mark.parametrize("lie", ["sha-up", "sha-dots"])
def test_a_hub_that_lies_gives_no_model_and_writes_nothing(station: Station, tmp_path: Path, lie: str) -> None:
    with hostile_hub(LIES[lie]) as url:
        ran = station.boot(HF_ENDPOINT=url)
    assert ran.code == 6, ran.err
    assert "check HF_ENDPOINT" in ran.errors[-1]
    assert not [path for path in tmp_path.rglob("*") if "pwned" in path.name]
