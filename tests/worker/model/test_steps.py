"""What a worker takes when its store has not what it wants, and in what words it says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas.refs.reference import Reference, log_of
from cas.store.store import open_store
from tests.worker.boot.test_boot import NEWER, damage
from tests.worker.station import AWAY, Station


def told(station: Station, **env: str) -> str:
    """Why the model comes from Hugging Face."""
    ran = station.boot(**{"CAS_CACHE_DIRS": str(station.folder / "fresh"), **env})
    station.check(ran)
    (line,) = [line for line in ran.warnings if "taking the model from Hugging Face" in line]
    return line.partition(", as ")[2]


def test_a_step_down_tells_its_true_cause(station: Station) -> None:
    none = str(station.folder / "none")
    assert told(station, ENABLE_S3_MODEL_CACHE="false") == "no store was asked (ENABLE_S3_MODEL_CACHE is false)"
    assert told(station, CAS_STORE="") == "no store was asked (no store is named: set S3_BUCKET)"
    assert told(station, CAS_STORE=AWAY) == "no store answered"
    assert told(station) == "the store does not have it"
    assert told(station, CAS_MIRRORS=none) == "no store has it"
    assert told(station, CAS_STORE=AWAY, CAS_MIRRORS=none) == "no store that answered has it"
    station.publish()
    damage(station.store)
    env = {"CAS_MIRRORS": none, "CAS_CACHE_DIRS": str(station.folder / "nothing")}
    assert told(station, **env) == "what the stores hold is damaged or unknown"


def test_the_switch_leaves_mirrors_and_what_is_here_alone(station: Station) -> None:
    station.publish()
    station.boot()
    ran = station.boot(ENABLE_S3_MODEL_CACHE="false", CAS_MIRRORS=f"{station.store} {AWAY}")
    station.check(ran)
    assert ran.receipt["source"] == "hub"
    assert not any(AWAY in line or station.store in line for line in ran.warnings)


def test_without_stores_and_hub_the_last_version_here_is_run(station: Station) -> None:
    exact = station.publish()
    a, _ = station.directories
    station.boot(CAS_CACHE_DIRS=str(a))
    for ref in a.glob("hub/models--*/refs/main"):
        ref.unlink()  # so that the hub's client does not find it either
    off = {"ENABLE_S3_MODEL_CACHE": "false", "HF_ENDPOINT": AWAY, "CAS_CACHE_DIRS": str(a)}
    ran = station.boot(**off)
    station.check(ran)
    assert (ran.receipt["source"], ran.receipt["version"]) == ("here", exact)
    assert any(f"no store was asked (ENABLE_S3_MODEL_CACHE is false): running {exact}" in line for line in ran.warnings)


@pytest.mark.parametrize("asked", ["f5-tts:v2", "f5-tts@blake3:" + "0" * 64, "f5-tts@00000000", "pin:eu/f5-tts"])
def test_another_version_does_not_take_the_place_of_one_that_the_store_does_not_have(
    asked: str, station: Station
) -> None:
    station.publish(files=NEWER)
    station.boot()
    station.publish("other")
    assert station.boot(CAS_MODEL=asked).code == 6
    ran = station.boot(CAS_MODEL=asked, CAS_FALLBACK="hub")
    assert (ran.code, ran.receipt["source"]) == (0, "hub")
    assert any(f"instead of {asked}, as the store does not have it" in line for line in ran.warnings)
    station.hub.down = True
    for directory in station.directories:
        for ref in directory.glob("hub/models--*/refs/main"):
            ref.unlink()
    assert station.boot(CAS_MODEL=asked, CAS_FALLBACK="hub").code == 6


def test_another_version_does_not_take_the_place_of_one_that_was_removed(station: Station) -> None:
    station.publish("v2")
    station.boot(CAS_MODEL="f5-tts:v2")
    log_of(open_store(station.store), Reference("f5-tts", tag="v2")).append(None, "too loud")
    assert station.boot(CAS_MODEL="f5-tts:v2").code == 6
    assert station.boot(CAS_MODEL="f5-tts:v2", CAS_FALLBACK="hub").receipt["source"] == "hub"


def test_a_version_asked_for_by_its_digest_is_run_although_the_store_has_lost_it(station: Station) -> None:
    exact = station.publish()
    station.boot()
    for path in Path(station.store).glob("manifests/*/*"):
        path.unlink()
    ran = station.boot(CAS_MODEL=exact)
    station.check(ran)
    assert ran.receipt["version"] == exact
    assert not any("digits of its digest" in line for line in ran.warnings)
    short = station.boot(CAS_MODEL=exact[:24].replace("blake3:", ""))
    assert short.receipt["version"] == exact
    (warned,) = (line for line in short.receipt["warnings"] if "of the 64 digits of its digest" in line)
    assert "write all of them" in warned


def test_a_store_that_is_away_lets_the_last_version_run_whatever_a_mirror_lacks(station: Station) -> None:
    exact = station.publish("v2")
    station.boot(CAS_MODEL="f5-tts:v2")
    ran = station.boot(CAS_MODEL="f5-tts:v2", CAS_STORE=AWAY, CAS_MIRRORS=str(station.folder / "none"))
    station.check(ran)
    assert (ran.receipt["source"], ran.receipt["version"]) == ("here", exact)
    assert any("no store that answered has it: running" in line for line in ran.warnings)


def test_a_model_that_the_hub_does_not_know_ends_with_what_the_store_said(station: Station) -> None:
    for store, told in ((station.store, "there is no store at"), (AWAY, "no connection")):
        ran = station.boot(CAS_MODEL="my-voice", CAS_STORE=store)
        assert ran.code == 6
        said, hub = ran.receipt["causes"]
        assert told in said
        assert hub.startswith("Hugging Face: source ")
        assert "my-voice.toml cannot be read" in hub


def test_a_store_that_is_a_file_is_a_step_down_like_the_others(station: Station) -> None:
    file = station.folder / "file"
    file.write_text("no store")
    ran = station.boot(CAS_STORE=AWAY, CAS_MIRRORS=str(file))
    station.check(ran)
    assert ran.receipt["source"] == "hub"
    assert any(f"mirror {file}: store {file} is a file: name a directory; trying" in line for line in ran.warnings)
    exact = station.publish()
    healed = station.boot(CAS_STORE=str(file), CAS_MIRRORS=station.store)
    assert (healed.receipt["source"], healed.receipt["version"]) == ("mirror", exact)
