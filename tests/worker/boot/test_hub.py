"""What comes from Hugging Face is checked, as its own client looks at sizes alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import read_tree
from tests.worker.boot.conftest import AWAY, FILES, Station
from tests.worker.boot.test_kill import whole_output
from worker import outcome


def test_a_flipped_bit_from_the_hub_is_fatal(station: Station) -> None:
    station.hub.corrupt = {"F5TTS_v1_Base/model_1250000.safetensors"}
    ran = station.boot()
    assert ran.code == 4, ran.err
    assert "arrives damaged from the hub" in ran.errors[-1]
    assert "there is no store" in ran.errors[-1]


def test_a_file_that_was_edited_is_downloaded_again(station: Station) -> None:
    station.boot()
    for blob in (station.directories[0] / "hub").glob("models--SWivid*/blobs/*"):
        blob.write_bytes(b"edited")
    ran = station.boot()
    station.check(ran)
    assert len(ran.receipt["errors"]) == 2
    assert "is not what its name says" in ran.receipt["errors"][0]


def test_a_file_that_was_edited_is_no_model_when_the_hub_is_down(station: Station) -> None:
    station.boot()
    for blob in (station.directories[0] / "hub").glob("models--SWivid*/blobs/*"):
        blob.write_bytes(b"edited")
    ran = station.boot(HF_ENDPOINT=AWAY)
    assert ran.code == 6, ran.err


def test_a_body_that_is_cut_is_gone_on_with(station: Station) -> None:
    station.hub.cut_bodies = True
    station.check(station.boot())


def test_what_one_directory_holds_is_enough_when_both_are_down(station: Station) -> None:
    _, b = station.directories
    station.boot(CAS_CACHE_DIRS=str(b))
    station.hub.down = True
    ran = station.boot(CAS_STORE=AWAY)
    station.check(ran)
    assert (ran.receipt["source"], ran.receipt["directory"]) == ("hub", str(b))
    assert ran.receipt["directory_reason"] == "it holds what was downloaded before"


def test_a_download_that_is_there_wins_over_an_empty_directory(station: Station) -> None:
    _, b = station.directories
    station.boot(CAS_CACHE_DIRS=str(b))
    ran = station.boot()
    station.check(ran)
    assert (ran.receipt["directory"], ran.receipt["bytes_downloaded"]) == (str(b), 0)


def test_part_of_a_download_is_not_all_of_it(station: Station) -> None:
    a, b = station.directories
    for directory in (a, b):
        station.boot(CAS_CACHE_DIRS=str(directory))
    shutil.rmtree(a / "hub/models--charactr--vocos-mel-24khz")
    shutil.rmtree(a / "hub/.locks", ignore_errors=True)
    station.hub.down = True
    ran = station.boot()
    station.check(ran)
    assert ran.receipt["directory"] == str(b)


def test_damage_in_the_first_directory_makes_way_for_a_good_one_when_both_are_down(station: Station) -> None:
    a, b = station.directories
    for directory in (a, b):
        station.boot(CAS_CACHE_DIRS=str(directory))
    edit(a)
    station.hub.down = True
    ran = station.boot()
    station.check(ran)
    assert ran.receipt["directory"] == str(b)
    assert any("trying the next directory" in line for line in ran.warnings)


def edit(directory: Path) -> None:
    for blob in (directory / "hub").glob("models--SWivid*/blobs/*"):
        blob.write_bytes(b"edited")


PLATFORM = """
import runpy, sys
from pathlib import Path
from worker import settings
settings.RUNPOD_CACHE = Path(sys.argv.pop(1))
runpy.run_module("worker.restoring", run_name="__main__")
"""


def from_platform(station: Station, hub: Path, **env: str) -> outcome.Restored | outcome.Failed:
    """How the restoring process ends where the platform has a hub cache of its own."""
    words = (str(hub), *map(str, station.directories))
    out, _ = whole_output(station.start("-c", PLATFORM, *words, env=env))
    return outcome.decode(out.encode())


@pytest.fixture
def platform(station: Station) -> Path:
    """A hub cache that the platform filled."""
    home = station.folder / "huggingface-cache"
    station.boot(CAS_CACHE_DIRS=str(home))
    return home / "hub"


def test_what_the_platform_downloaded_is_the_last_resort(station: Station, platform: Path) -> None:
    before = read_tree(platform)
    done = from_platform(station, platform, HF_ENDPOINT=AWAY)
    assert isinstance(done, outcome.Restored)
    assert (done.source, done.directory, done.publish) == ("hub", str(platform.parent), False)
    assert {repo: read_tree(Path(folder)) for repo, folder in done.snapshots.items()} == FILES
    assert any(f"running what {platform} holds, verified" in line for line in done.warnings)
    assert read_tree(platform) == before
    with_hub = from_platform(station, platform)
    assert isinstance(with_hub, outcome.Restored)
    assert with_hub.directory == str(station.directories[0])


def test_what_the_platform_holds_is_not_believed_and_not_touched(station: Station, platform: Path) -> None:
    edit(platform.parent)
    before = read_tree(platform)
    done = from_platform(station, platform, HF_ENDPOINT=AWAY)
    assert isinstance(done, outcome.Failed)
    assert done.exit_code == 6
    assert any("cannot be verified" in line for line in done.warnings)
    assert read_tree(platform) == before
