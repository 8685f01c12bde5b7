"""A worker boots: from the hub at first, from the store ever after, and from what is left when something is away."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from cas.refs.reference import Reference, log_of
from cas.store.store import open_store
from tests.worker.station import AWAY, FILES, SPEECH, TOTAL, Station

NEWER = {
    SPEECH: {**FILES[SPEECH], "F5TTS_v1_Base/vocab.txt": b"c\n"},
    **{k: v for k, v in FILES.items() if k != SPEECH},
}


def test_an_empty_store_means_hugging_face_with_one_warning(station: Station) -> None:
    ran = station.boot()
    station.check(ran)
    receipt = ran.receipt
    assert (receipt["source"], receipt["version"], receipt["bytes_downloaded"]) == ("hub", "", TOTAL)
    causes = [line for line in ran.warnings if f"store {station.store}: there is no store at" in line]
    assert len(causes) == 1
    assert ran.errors == []
    assert receipt["directory"] == str(station.directories[0])


def test_a_published_version_is_restored_without_the_hub(station: Station) -> None:
    exact = station.publish()
    station.hub.requests.clear()
    ran = station.boot()
    station.check(ran)
    receipt = ran.receipt
    assert (receipt["source"], receipt["version"], receipt["where"]) == ("store", exact, station.store)
    assert receipt["version_reason"] == "no deployment is named, so latest"
    assert (receipt["bytes_fetched"], receipt["bytes_downloaded"]) == (TOTAL, 0)
    assert (ran.warnings, station.hub.requests) == ([], [])
    again = station.boot()
    station.check(again)
    assert (again.receipt["bytes_present"], again.receipt["bytes_fetched"]) == (TOTAL, 0)
    assert again.receipt["directory_reason"] == "it holds this version, verified"


def test_a_pin_moved_back_brings_the_older_version(station: Station) -> None:
    old = station.publish()
    station.publish(files=NEWER)
    newer = station.boot(CAS_DEPLOYMENT="eu")
    station.check(newer, NEWER)
    store = open_store(station.store)
    log_of(store, Reference("f5-tts", deployment="eu")).append(old.rpartition(":")[2], "test")
    back = station.boot(CAS_DEPLOYMENT="eu")
    station.check(back)
    assert (back.receipt["version"], back.receipt["version_reason"]) == (old, "pin of deployment eu")
    assert back.receipt["bytes_fetched"] < 1000, "nothing but the file that differs"


def test_a_bucket_that_is_down_means_the_hub_with_a_warning(station: Station) -> None:
    ran = station.boot(CAS_STORE=AWAY)
    station.check(ran)
    assert ran.receipt["source"] == "hub"
    assert any(AWAY in line and "no connection" in line for line in ran.warnings)


def test_a_hub_that_is_down_matters_to_nobody_who_has_the_bytes(station: Station) -> None:
    station.publish()
    station.hub.down = True
    ran = station.boot()
    station.check(ran)
    assert ran.warnings == []


def test_both_down_is_the_end_with_both_causes(station: Station) -> None:
    ran = station.boot(CAS_STORE=AWAY, HF_ENDPOINT="http://127.0.0.1:10")
    assert ran.code == 6
    (told,) = [line for line in ran.errors if "no model" in line]
    assert f"store {AWAY}" in told
    assert "Hugging Face: " in told
    assert "http://127.0.0.1:10" in told
    assert not ran.receipt["ok"]
    assert len(ran.receipt["causes"]) == 2


def test_both_down_with_the_last_version_here_starts_with_a_warning(station: Station) -> None:
    exact = station.publish()
    station.boot()
    down = {"CAS_STORE": AWAY, "HF_ENDPOINT": AWAY}
    ran = station.boot(**down)
    station.check(ran)
    assert (ran.receipt["source"], ran.receipt["version"]) == ("here", exact)
    assert any("no store answered: running" in line for line in ran.warnings)
    for blob in (station.directories[0] / "hub").glob("models--SWivid*/blobs/*"):
        blob.write_bytes(b"edited")
    assert station.boot(**down).code == 6, "what was changed is not believed"


def test_the_cache_of_the_hub_is_enough_when_both_are_down(station: Station) -> None:
    station.boot()
    station.hub.down = True
    ran = station.boot()
    station.check(ran)
    assert any("looking for it in" in line for line in ran.warnings)


def test_a_mirror_has_what_the_store_has_lost(station: Station, tmp_path: Path) -> None:
    station.publish()
    mirror = str(tmp_path / "mirror")
    station.publish(store=mirror)
    ran = station.boot(CAS_STORE=AWAY, CAS_MIRRORS=f"{tmp_path}/none, {mirror}")
    station.check(ran)
    assert (ran.receipt["source"], ran.receipt["where"]) == ("mirror", mirror)
    assert len(ran.warnings) == 2
    (kept,) = Path(mirror).glob("receipts/*/*/*.json")
    assert json.loads(kept.read_bytes())["bytes"]["source"] == "mirror"


def damage(store: str) -> None:
    for chunk in Path(store).glob("chunks/*/*"):
        chunk.write_bytes(chunk.read_bytes()[:-1] + b"?")


def test_damage_is_an_error_although_a_mirror_heals_it(station: Station, tmp_path: Path) -> None:
    exact = station.publish()
    mirror = str(tmp_path / "mirror")
    station.publish(store=mirror)
    damage(station.store)
    ran = station.boot(CAS_MIRRORS=mirror, CAS_RECEIPT="1")
    station.check(ran)
    (told,) = ran.errors
    assert "is corrupt" in told
    assert ran.receipt["errors"] == [told.removeprefix("worker: error: ")]
    assert ran.receipt["version"] == exact
    receipts = [json.loads(path.read_bytes()) for path in Path(station.store).glob("receipts/*/*/*.json")]
    assert [found["error"]["class"] for found in receipts] == ["ChunkCorrupt"]


def test_damage_everywhere_means_the_hub_with_an_error_and_a_warning_that_says_so(station: Station) -> None:
    station.publish()
    damage(station.store)
    ran = station.boot()
    station.check(ran)
    assert ran.receipt["source"] == "hub"
    assert len(ran.errors) == 1
    assert any(
        "taking the model from Hugging Face instead of f5-tts:latest, as what the stores" in w for w in ran.warnings
    )


def test_the_switch_leaves_the_store_alone(station: Station) -> None:
    station.publish()
    ran = station.boot(ENABLE_S3_MODEL_CACHE="false")
    station.check(ran)
    assert ran.receipt["source"] == "hub"
    assert any("taking the model from Hugging Face" in line for line in ran.warnings)


ENVIRONMENT = """
import json, os, sys
from worker.boot.boot import Boot
heavy = [name for name in ("torch", "f5_tts", "runpod", "huggingface_hub", "obstore", "boto3", "click")
         if name in sys.modules]
boot = Boot.start()
if "early" in sys.argv:
    from huggingface_hub import constants
started = dict(os.environ)
boot.wait()
import huggingface_hub
from huggingface_hub import snapshot_download
found = snapshot_download("SWivid/F5-TTS")
boot.ready()
boot.settle()  # the restoring process ends, and with it its own hold
from cas.ops.prune.pruner import prune
kept = [version.reason for version in prune(cache_dir=os.environ["HF_HUB_CACHE"]).kept]
print(json.dumps([heavy, started, dict(os.environ), huggingface_hub.constants.HF_HUB_OFFLINE, found, kept]))
"""


def looked(station: Station, *words: str, **env: str) -> list[object]:
    process = station.start("-c", ENVIRONMENT, *words, env=env)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    answer: list[object] = json.loads(out.splitlines()[-1])  # after the cold-start line
    return answer


def test_the_environment_is_set_before_the_model_and_offline_only_after_it(station: Station) -> None:
    station.publish()
    a, _ = station.directories
    for words in ([], ["early"]):
        heavy, started, after, offline, found, kept = looked(station, *words)
        assert isinstance(started, dict)
        assert isinstance(after, dict)
        hub = str(a / "hub")
        wanted = {
            "HF_HOME": str(a),
            "HF_HUB_CACHE": hub,
            "TRANSFORMERS_CACHE": hub,
            "TORCH_HOME": str(a / "torch"),
            "HF_HUB_DISABLE_SHARED_BLOBS": "1",
        }
        assert heavy == []
        assert wanted.items() <= started.items()
        assert "HF_HUB_OFFLINE" not in started
        assert (after["HF_HUB_OFFLINE"], offline) == ("1", True)
        assert str(found).startswith(hub)
        assert kept == ["it is in use"], "a prune leaves what a worker uses"


def test_the_environment_is_set_although_the_store_is_empty(station: Station) -> None:
    _, _, after, offline, found, _ = looked(station)
    assert isinstance(after, dict)
    assert after["HF_HOME"] == str(station.directories[0])
    assert "HF_HUB_OFFLINE" not in after
    assert offline is False
    assert str(found).startswith(after["HF_HUB_CACHE"])


def test_a_wait_has_an_end(station: Station) -> None:
    code = "from worker.boot.boot import Boot\nboot = Boot.start()\nboot.wait(within=0.01)"
    station.publish()
    done = subprocess.run(
        [sys.executable, "-c", code], env=station.variables(), capture_output=True, text=True, timeout=60, check=False
    )
    assert "BootFailed: no model: the model did not come in time" in done.stderr
    assert json.loads(done.stdout)["exit_code"] == 6


def test_what_other_directories_hold_is_not_fetched(station: Station) -> None:
    station.publish()
    a, b = station.directories
    station.boot(CAS_CACHE_DIRS=str(b))
    station.publish(files=NEWER)
    for env in ({}, {"CAS_CACHE_DIRS": str(station.folder / "c"), "CAS_SEEDS": str(b)}):
        ran = station.boot(**env)
        station.check(ran, NEWER)
        assert ran.receipt["bytes_reused"] > 690_000
        assert ran.receipt["bytes_fetched"] < 1000
    assert (a / "hub").is_dir()


def test_a_lock_file_that_was_changed_is_fatal(station: Station, tmp_path: Path) -> None:
    station.publish()
    lock = tmp_path / "f5.json"
    store = open_store(station.store)
    import cas

    cas.write_lock("f5-tts", store, lock)
    good = station.boot(CAS_LOCK=str(lock))
    station.check(good)
    assert good.receipt["version_reason"] == f"lock file {lock}"
    lock.write_bytes(lock.read_bytes().replace(b"main", b"mail"))
    ran = station.boot(CAS_LOCK=str(lock))
    assert ran.code == 4
    assert "was changed" in ran.err
    assert station.boot(CAS_LOCK="/none.json").code == 2


def test_values_that_cannot_be_are_told_by_name(station: Station) -> None:
    for name, value in (
        ("ENABLE_S3_MODEL_CACHE", "maybe"),
        ("CAS_RECEIPT", "maybe"),
        ("CAS_PUBLISH", "maybe"),
        ("CAS_MODEL", "../x"),
        ("CAS_DEPLOYMENT", "a b"),
        ("RUNPOD_ENDPOINT_ID", "a b"),
        ("CAS_MIRRORS", "https://user:secret@host/cas"),
        ("CAS_CACHE_DIRS", "models"),
        ("CAS_CACHE_DIRS", ":"),
        ("CAS_PROMETHEUS_FILE", "metrics.prom"),
    ):
        ran = station.boot(**{name: value})
        assert (ran.code, ran.receipt) == (2, None), ran.err
        (line,) = ran.err.splitlines()
        assert line.startswith(f"worker: error: {name}")
        assert "secret" not in line
