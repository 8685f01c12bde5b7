"""What comes from Hugging Face is checked, as its own client looks at sizes alone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from cas.hub.source import RepoSource, Source
from cas.local.hf_cache import RepoCache
from cas.local.locks import Lock
from tests.support.models import read_tree
from tests.worker.boot.test_directories import small
from tests.worker.station import AWAY, FILES, Station, last_message, whole_output
from worker.boot import messages
from worker.model import hub_space

__all__ = ["small"]


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


# Too little room, of which the checks know, or which shows only while the model is being written.
ROOM = """
import runpy
from worker.boot import directories
from worker.model import hub_space
real = directories.free_space
small = directories.Space(1000)
directories.free_space = lambda path, *words: small if str(path).endswith("/a") else real(path, *words)
runpy.run_module("worker.model.restore_process", run_name="__main__")
"""
UNLISTED = """
import runpy
from worker.boot import directories
from worker.model import hub_space
real = directories.free_space
directories.free_space = lambda path, *words: directories.Space(0) if str(path).endswith("/a") else real(path, *words)
hub_space.list_source = lambda source: None
runpy.run_module("worker.model.restore_process", run_name="__main__")
"""
LATE = """
import runpy
from worker.model import hub_space
hub_space.list_source = lambda source: None
runpy.run_module("worker.model.restore_process", run_name="__main__")
"""
XET = """
import runpy
from worker.model import hub_download
from worker.model import hub_space
from cas.errors import StoreError
hub_space.list_source = lambda source: None
def download_verified(source, dirs, recorder, real=hub_download.download_verified):
    done = real(source, dirs, recorder)
    if "/a/hub" in str(dirs.hub):
        raise StoreError("it cannot be downloaded: RuntimeError: IO Error: No space left on device (os error 28)")
    return done
hub_download.download_verified = download_verified
runpy.run_module("worker.model.restore_process", run_name="__main__")
"""


def downloaded(station: Station, code: str, *directories: Path, **env: str) -> messages.Restored:
    out, err = whole_output(station.start("-c", code, *map(str, directories), env=env))
    done = last_message(out)
    assert isinstance(done, messages.Restored), err
    assert {repo: read_tree(Path(folder)) for repo, folder in done.snapshots.items()} == FILES
    return done


def test_a_directory_without_any_room_takes_nothing_that_nobody_has_listed(station: Station) -> None:
    a, b = station.directories
    done = downloaded(station, UNLISTED, a, b)
    assert done.directory == str(b)
    assert any(f"{a}: it has no room left" in one for one in done.warnings)
    assert not (a / "hub").exists()
    # What is there already needs none.
    downloaded(station, LATE, a)
    assert downloaded(station, UNLISTED, a).directory == str(a)


def test_a_directory_that_must_keep_what_is_free_is_passed_over(station: Station) -> None:
    a, b = station.directories
    done = downloaded(station, ROOM, a, b)
    assert done.directory == str(b)
    assert any(f"{a}: needs 690.0 kB, has 1.0 kB" in one for one in done.warnings)
    assert not (a / "hub").exists()


def test_a_directory_that_has_the_download_needs_no_room(station: Station) -> None:
    a, b = station.directories
    station.boot(CAS_CACHE_DIRS=str(a))
    assert downloaded(station, ROOM, a, b).directory == str(a)


def test_no_directory_with_room_for_a_download_is_the_end(station: Station, small: Path) -> None:
    ran = station.boot(CAS_CACHE_DIRS=str(small))
    assert ran.code == 7, ran.err
    assert f"{small}: needs 690.0 kB, has " in ran.errors[-1]


def test_a_download_that_does_not_fit_leaves_nothing(station: Station, small: Path) -> None:
    _, b = station.directories
    blobs = small / "hub/models--charactr--vocos-mel-24khz/blobs"
    blobs.mkdir(parents=True)
    (blobs / ("0" * 40)).write_bytes(b"was here before")
    done = downloaded(station, LATE, small, b)
    assert done.directory == str(b)
    assert any(f"{small}: no room left in" in line for line in done.warnings)
    left = [path for path in small.rglob("*") if path.parent.name == "blobs" or "snapshots" in path.parts[:-1]]
    assert [path.name for path in left if not path.is_dir()] == ["0" * 40]


def test_a_want_of_room_that_is_told_in_words_alone_leaves_nothing_either(station: Station) -> None:
    a, b = station.directories
    done = downloaded(station, XET, a, b)
    assert done.directory == str(b)
    left = [path for path in a.rglob("*") if path.parent.name == "blobs" or "snapshots" in path.parts[:-1]]
    assert [path for path in left if not path.is_dir()] == []


LISTED = """
import sys
from cas.hub.source import Source
from worker.model import hub_space
found = hub_space.list_source(Source.from_repos(sys.argv[1:2], sys.argv[2:]))
print(found if found is None else [(file.path, file.size) for file in found])
"""


def test_a_hub_that_says_no_is_told_from_one_that_says_nothing(station: Station) -> None:
    def listed(*words: str, **env: str) -> str:
        out, err = station.start("-c", LISTED, *words, env=env).communicate(timeout=60)
        assert err == ""
        return out.strip()

    assert listed("charactr/vocos-mel-24khz", "*.bin") == "[('pytorch_model.bin', 90000)]"
    assert listed("charactr/vocos-mel-24khz", "*.none") == "[]"
    assert listed("charactr/vocos-mel-24khz@v9") == "[]"
    assert listed("charactr/none") == "[]"
    assert listed("charactr/vocos-mel-24khz", HF_ENDPOINT=AWAY) == "None"
    station.hub.down = True
    assert listed("charactr/vocos-mel-24khz") == "None"


def test_what_somebody_else_is_downloading_is_left_alone(tmp_path: Path) -> None:
    source = Source((RepoSource("org/name"),))
    cache = RepoCache(tmp_path, "model", "org/name")
    before = hub_space.cached_paths(source, tmp_path)
    names = [digit * 40 for digit in "12"]
    folder = cache.root / "snapshots" / ("c" * 40)
    folder.mkdir(parents=True)
    (cache.root / "blobs").mkdir()
    for name in names:
        (cache.root / "blobs" / name).write_text("new")
        (folder / name).symlink_to(f"../../blobs/{name}")
    theirs = Lock(cache.blob_lock(names[1]))
    assert theirs.try_acquire()
    hub_space.remove_new_files(source, tmp_path, before)
    theirs.release()
    left = {path.relative_to(cache.root).parts[0]: path.name for path in hub_space.cached_paths(source, tmp_path)}
    assert left == {"blobs": names[1], "snapshots": names[1]}


def edit(directory: Path) -> None:
    for blob in (directory / "hub").glob("models--SWivid*/blobs/*"):
        blob.write_bytes(b"edited")


PLATFORM = """
import runpy, sys
from pathlib import Path
from worker.boot import settings
settings.RUNPOD_CACHE = Path(sys.argv.pop(1))
runpy.run_module("worker.model.restore_process", run_name="__main__")
"""


def from_platform(station: Station, hub: Path, **env: str) -> messages.Restored | messages.Failed:
    """How the restoring process ends where the platform has a hub cache of its own."""
    words = (str(hub), *map(str, station.directories))
    out, _ = whole_output(station.start("-c", PLATFORM, *words, env=env))
    return last_message(out)


@pytest.fixture
def platform(station: Station) -> Path:
    """A hub cache that the platform filled."""
    home = station.folder / "huggingface-cache"
    station.boot(CAS_CACHE_DIRS=str(home))
    return home / "hub"


def test_what_the_platform_downloaded_is_the_last_resort(station: Station, platform: Path) -> None:
    before = read_tree(platform)
    done = from_platform(station, platform, HF_ENDPOINT=AWAY)
    assert isinstance(done, messages.Restored)
    assert (done.source, done.directory, done.publish) == ("hub", str(platform.parent), False)
    assert {repo: read_tree(Path(folder)) for repo, folder in done.snapshots.items()} == FILES
    assert any(f"running what {platform} holds, verified" in line for line in done.warnings)
    assert read_tree(platform) == before
    with_hub = from_platform(station, platform)
    assert isinstance(with_hub, messages.Restored)
    assert with_hub.directory == str(station.directories[0])


def test_what_the_platform_holds_is_not_believed_and_not_touched(station: Station, platform: Path) -> None:
    edit(platform.parent)
    before = read_tree(platform)
    done = from_platform(station, platform, HF_ENDPOINT=AWAY)
    assert isinstance(done, messages.Failed)
    assert done.exit_code == 6
    assert any("cannot be verified" in line for line in done.warnings)
    assert read_tree(platform) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")
def test_what_another_user_may_have_put_into_the_platforms_cache_is_not_read(station: Station, platform: Path) -> None:
    os.chown(platform, 1001, 1001)
    done = from_platform(station, platform, HF_ENDPOINT=AWAY)
    assert isinstance(done, messages.Failed)
    assert any(f"{platform} is of no use: {platform} belongs to another user" in line for line in done.warnings)
