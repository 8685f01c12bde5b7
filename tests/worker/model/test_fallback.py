"""A fallback keeps the condition: for a version that somebody chose, every other source gives its bytes or nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import cas
from cas.refs.reference import Reference, log_of
from cas.store.store import open_store
from tests.support.models import read_tree, write_tree
from tests.worker.boot.test_boot import NEWER, damage
from tests.worker.station import AWAY, FILES, SPEECH, TOTAL, VOCODER, Ran, Station
from worker.boot.settings import Settings
from worker.model.condition import Condition

CONFIG = "config.yaml"


def chosen(station: Station, way: str) -> dict[str, str]:
    """Publish a version, and return the variables that choose it in one of the ways."""
    exact = station.publish("v1", "latest")
    match way:
        case "lock":
            lock = station.folder / "f5.json"
            cas.write_lock(exact, station.store, lock)
            return {"CAS_LOCK": str(lock)}
        case "digest":
            return {"CAS_MODEL": exact}
        case "pin":
            log = log_of(open_store(station.store), Reference("f5-tts", deployment="eu"))
            log.append(exact.rpartition(":")[2], "test")
            return {"CAS_DEPLOYMENT": "eu"}
    return {"CAS_MODEL": "f5-tts:v1"}


WAYS = pytest.mark.parametrize("way", ["lock", "digest", "pin", "tag"])


def chunks_of(station: Station, path: str) -> list[Path]:
    """The stored chunks of a file of the version."""
    (manifest,) = Path(station.store).glob("manifests/*/*.json")
    files = [file for repo in json.loads(manifest.read_bytes())["repos"] for file in repo["files"]]
    digests = [chunk[0] for file in files if file["path"] == path for chunk in file["chunks"]]
    return [Path(station.store, "chunks", digest[:2], digest) for digest in digests]


def replace_upstream(station: Station) -> None:
    """Have the hub serve other content as main; it does not have the older commit any more."""
    for repo, content in NEWER.items():
        write_tree(station.hub.root / repo, content)
    write_tree(station.hub.root / VOCODER, {CONFIG: b"feature_extractor: {class_path: subprocess.Popen}\n"})


def check_refused(station: Station, ran: Ran, *causes: str) -> None:
    assert ran.code == 6, ran.err
    assert len(ran.receipt["causes"]) == len(causes)
    for told, cause in zip(ran.receipt["causes"], causes, strict=True):
        assert cause in told
    found = [path for folder in station.directories for path in folder.rglob("snapshots/*/*")]
    assert found == [], "nothing is visible"
    assert not [path for folder in station.directories for path in folder.glob(".cas-worker/download-*")]


@WAYS
@pytest.mark.parametrize("fault", ["withheld", "corrupt"])
def test_a_chunk_comes_from_the_hub_at_the_commit_of_the_version_or_not_at_all(
    way: str, fault: str, station: Station
) -> None:
    env = chosen(station, way)
    for chunk in chunks_of(station, CONFIG):
        chunk.unlink() if fault == "withheld" else chunk.write_bytes(chunk.read_bytes()[:-1] + b"?")
    station.hub.requests.clear()
    ran = station.boot(**env)
    station.check(ran)
    assert (ran.receipt["source"], ran.receipt["fallback"]) == ("hub", "bytes")
    assert ran.receipt["version"].startswith("f5-tts@blake3:")
    assert ran.receipt["bytes_downloaded"] > 0
    kept = [json.loads(one.read_bytes()) for one in Path(station.store).glob("receipts/*/*/*.json")]
    (reused,) = (one["bytes"]["reused_from"] for one in kept if one["ok"])
    assert [size for seed, size in reused.items() if seed.startswith("http")] == [ran.receipt["bytes_downloaded"]]
    assert not any("/main" in path for _, path in station.hub.requests), "main is never asked for"
    assert not list(station.directories[0].glob(".cas-worker/download-*"))
    for directory in station.directories:
        shutil.rmtree(directory, ignore_errors=True)
    replace_upstream(station)
    check_refused(station, station.boot(**env), "chunk", "is not on")


def test_a_hub_that_serves_other_bytes_under_the_true_name_is_refused(station: Station) -> None:
    env = chosen(station, "lock")
    for path in (CONFIG, "F5TTS_v1_Base/model_1250000.safetensors"):
        for chunk in chunks_of(station, path):
            chunk.unlink()
    station.hub.corrupt = {CONFIG}
    check_refused(station, station.boot(**env), "chunk", "is not what f5-tts@blake3:")
    station.hub.corrupt = set()
    station.hub.down = True
    check_refused(station, station.boot(**env), "chunk", "Hugging Face: ")


@WAYS
def test_a_store_that_is_away_is_no_reason_for_another_version(way: str, station: Station) -> None:
    env = {**chosen(station, way), "CAS_STORE": AWAY}
    replace_upstream(station)
    last = "is not on" if way == "lock" else "Hugging Face: not asked"
    check_refused(station, station.boot(**env), f"store {AWAY}", last)


def test_a_lock_file_and_the_right_hub_need_no_store(station: Station) -> None:
    env = {**chosen(station, "lock"), "CAS_STORE": AWAY}
    for off in ({}, {"ENABLE_S3_MODEL_CACHE": "false"}):
        ran = station.boot(**env, **off)
        station.check(ran)
        assert (ran.receipt["source"], ran.receipt["bytes_downloaded"]) == ("hub", TOTAL)
        assert ran.receipt["version_reason"] == f"lock file {env['CAS_LOCK']}"
        shutil.rmtree(station.directories[0])


@WAYS
def test_a_manifest_that_is_gone_is_the_end_unless_it_is_on_this_machine(way: str, station: Station) -> None:
    env = chosen(station, way)
    for path in Path(station.store).glob("manifests/*/*"):
        path.unlink()
    replace_upstream(station)
    if way == "lock":  # holds the manifest itself
        station.check(station.boot(**env))
        return
    check_refused(station, station.boot(**env), "has no version", "Hugging Face: not asked")


def test_bytes_that_are_private_come_from_the_store_and_the_withheld_ones_from_the_hub(station: Station) -> None:
    env = chosen(station, "digest")
    for chunk in chunks_of(station, CONFIG):
        chunk.unlink()
    shutil.rmtree(station.hub.root / SPEECH)
    ran = station.boot(**env)
    station.check(ran)
    assert 0 < ran.receipt["bytes_downloaded"] < 1000


def test_this_machine_gives_bytes_from_anywhere_without_the_hub(station: Station) -> None:
    env = chosen(station, "lock")
    station.boot(**env, CAS_CACHE_DIRS=str(station.folder / "seed"))
    station.hub.down = True
    ran = station.boot(**env, CAS_STORE=AWAY, CAS_SEEDS=str(station.folder / "seed"))
    station.check(ran)
    assert (ran.receipt["bytes_reused"], ran.receipt["version_reason"]) == (TOTAL, f"lock file {env['CAS_LOCK']}")


@pytest.mark.parametrize("way", ["pin", "tag"])
def test_a_ref_runs_what_it_named_here_last_and_nothing_that_another_ref_named(way: str, station: Station) -> None:
    env = chosen(station, way)
    station.check(station.boot(**env))
    station.publish("other", files=NEWER)
    station.check(station.boot(CAS_MODEL="f5-tts:other"), NEWER)  # now the last version of the directory
    replace_upstream(station)
    ran = station.boot(**env, CAS_STORE=AWAY)
    station.check(ran)
    assert ran.receipt["source"] == "here"
    assert station.boot(CAS_MODEL="f5-tts:third", CAS_STORE=AWAY).code == 6


def test_what_a_ref_named_here_last_is_completed_by_hub_and_mirror_as_that_version(station: Station) -> None:
    env = chosen(station, "tag")
    station.check(station.boot(**env, CAS_CACHE_DIRS=str(station.directories[0])))
    shutil.rmtree(station.directories[0] / "hub")
    away = {**env, "CAS_STORE": AWAY, "CAS_CACHE_DIRS": str(station.directories[0])}
    ran = station.boot(**away)
    station.check(ran)
    assert (ran.receipt["source"], ran.receipt["version_reason"]) == ("hub", "the last one that was restored here")
    shutil.rmtree(station.directories[0] / "hub")
    mirror = station.boot(**away, CAS_MIRRORS=station.store)
    station.check(mirror)
    assert mirror.receipt["source"] == "mirror"


@pytest.mark.parametrize("way", ["tag", "pin", "digest"])
def test_a_mirror_gives_bytes_and_does_not_say_which_version(way: str, station: Station) -> None:
    env = chosen(station, way)
    mirror = str(station.folder / "mirror")
    station.publish("v1", store=mirror, files=NEWER)
    if way == "pin":
        (digest,) = cas.open_store(mirror).digests("f5-tts")
        log_of(open_store(mirror), Reference("f5-tts", deployment="eu")).append(digest, "test")
    ran = station.boot(**env, CAS_STORE=AWAY, CAS_MIRRORS=mirror)
    told = "has no version" if way == "digest" else "not asked, as the store alone may say"
    check_refused(station, ran, f"store {AWAY}", told, "Hugging Face: not asked")
    shutil.copytree(station.store, mirror, dirs_exist_ok=True)
    damage(station.store)
    healed = station.boot(**env, CAS_MIRRORS=mirror)
    station.check(healed)
    assert healed.receipt["source"] == "mirror"


def test_the_variable_says_what_may_stand_in(station: Station) -> None:
    env = {**chosen(station, "digest"), "CAS_STORE": AWAY}
    assert station.boot(**env, CAS_FALLBACK="hub").receipt["source"] == "hub"
    assert station.boot(CAS_STORE=AWAY, CAS_FALLBACK="bytes").code == 6
    none = station.boot(CAS_FALLBACK="none", CAS_STORE=AWAY)
    assert (none.code, none.receipt["fallback"]) == (6, "none")
    assert "CAS_FALLBACK is none" in none.receipt["causes"][-1]
    good = station.boot(CAS_FALLBACK="none", CAS_DEPLOYMENT="eu")
    assert (good.receipt["source"], good.receipt["fallback"]) == ("store", "none")
    (kept,) = Path(station.store).glob("receipts/eu/*/*.json")
    assert json.loads(kept.read_bytes())["fallback"] == "none"
    wrong = station.boot(CAS_FALLBACK="main")
    assert wrong.code == 2 and "CAS_FALLBACK is 'main': write bytes, hub or none" in wrong.err


@pytest.mark.parametrize(
    ("environ", "fallback"),
    [
        ({}, "hub"),
        ({"CAS_MODEL": "f5-tts"}, "hub"),
        ({"CAS_MODEL": "f5-tts:latest"}, "bytes"),
        ({"CAS_MODEL": "f5-tts:v1"}, "bytes"),
        ({"CAS_MODEL": "f5-tts@01234567"}, "bytes"),
        ({"CAS_MODEL": "pin:eu/f5-tts"}, "bytes"),
        ({"CAS_LOCK": "/f5.json"}, "bytes"),
        ({"CAS_LOCK": "/f5.json", "CAS_FALLBACK": " HUB "}, "hub"),
    ],
)
def test_what_counts_as_chosen(environ: dict[str, str], fallback: str) -> None:
    condition = Condition(Settings.read({"S3_BUCKET": "voices", **environ}))
    condition.choose(environ, None)
    assert condition.fallback == fallback


@pytest.mark.parametrize(
    ("environ", "may"),
    [
        ({}, True),
        ({"CAS_MODEL": "f5-tts@" + "0" * 64}, True),
        ({"CAS_MODEL": "f5-tts@" + "0" * 63}, False),
        ({"CAS_MODEL": "f5-tts@01234567"}, False),
        ({"CAS_MODEL": "f5-tts:latest"}, False),
        ({"CAS_MODEL": "pin:eu/f5-tts"}, False),
        ({"CAS_FALLBACK": "bytes"}, False),
        ({"CAS_MODEL": "f5-tts:v1", "CAS_FALLBACK": "hub"}, True),
        ({"CAS_MODEL": "f5-tts:v1", "S3_BUCKET": "", "CAS_STORE": "", "CAS_MIRRORS": "https://mirror/x"}, True),
    ],
)
def test_what_a_mirror_may_say(environ: dict[str, str], may: bool) -> None:
    condition = Condition(Settings.read({"S3_BUCKET": "voices", **environ}))
    condition.choose(environ, None)
    assert condition.may_name("store")
    assert condition.may_name("mirror") is may


def test_a_deployment_counts_as_a_choice_until_a_store_says_that_it_has_no_pin() -> None:
    environ = {"S3_BUCKET": "voices", "RUNPOD_ENDPOINT_ID": "eu"}
    assert Condition(Settings.read(environ)).fallback == "bytes"
    assert Condition(Settings.read({"RUNPOD_ENDPOINT_ID": "eu"})).fallback == "hub", "no store, no pins"
    assert Condition(Settings.read({**environ, "ENABLE_S3_MODEL_CACHE": "no"})).fallback == "hub"


def test_a_restore_from_a_lock_file_takes_no_byte_of_another_version_from_a_seed(station: Station) -> None:
    chosen(station, "lock")
    seed = station.folder / "seed"
    station.check(station.boot(CAS_CACHE_DIRS=str(seed)))
    for blob in seed.glob("hub/models--*/blobs/*"):
        size = blob.stat().st_size
        blob.write_bytes(b"x" * size)
    hub = station.folder / "restored/hub"
    lock = cas.read_lock(station.folder / "f5.json")
    done = cas.restore(lock, station.store, cache_dir=hub, seeds=[seed])
    assert done.reused == 0
    assert {repo: read_tree(Path(folder)) for repo, folder in done.snapshots.items()} == FILES
