"""Whether the background publish may move latest: only where nobody has ever decided what it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import cas
from cas.refs.reference import Reference, log_of
from cas.store.store import open_store
from tests.worker.station import Station, last_message, whole_output
from worker.boot import messages
from worker.model.failed_sources import is_latest


def restored(station: Station, **env: str) -> messages.Restored:
    """How the restoring process ends; the background publish goes by what it says."""
    directory = str(station.directories[0])
    out, err = whole_output(station.start("-m", "worker.model.restore_process", directory, env=env))
    done = last_message(out)
    assert isinstance(done, messages.Restored), err
    return done


def remove(store: str, folder: str) -> None:
    shutil.rmtree(Path(store) / folder)


def untag(store: str) -> None:
    log_of(open_store(store), Reference("f5-tts", tag="latest")).append(None, "it speaks too fast")


def test_a_version_that_a_digest_names_beside_the_tag_is_chosen() -> None:
    assert is_latest(cas.Choice("CAS_MODEL", "f5-tts:latest"))
    assert not is_latest(cas.Choice("CAS_MODEL", "f5-tts:latest@00000000"))


def test_a_store_that_is_not_there_may_be_published_to(station: Station) -> None:
    assert restored(station).publish


@pytest.mark.parametrize("deployment", ["", "eu"])
def test_a_latest_that_was_never_set_may_be_set(deployment: str, station: Station) -> None:
    station.publish("v1")
    assert restored(station, CAS_DEPLOYMENT=deployment).publish


def test_a_latest_that_was_removed_stays_removed(station: Station) -> None:
    station.publish()
    untag(station.store)
    done = restored(station)
    assert (done.source, done.publish, done.errors) == ("hub", False, ())
    assert any("was removed from" in line for line in done.warnings)


def test_what_was_here_is_not_published_as_latest_when_the_hub_did_not_answer(station: Station) -> None:
    assert restored(station).publish, "the hub has just said that this is its main"
    station.hub.down = True
    done = restored(station)
    assert (done.source, done.publish) == ("hub", False)
    station.hub.down = False
    assert restored(station).publish


@pytest.mark.parametrize("lost", ["chunks", "manifests"])
@pytest.mark.parametrize("pinned", [False, True])
def test_what_is_lost_is_damage_and_no_reason_to_move_latest(lost: str, pinned: bool, station: Station) -> None:
    exact = station.publish()
    if pinned:
        log = log_of(open_store(station.store), Reference("f5-tts", deployment="eu"))
        log.append(exact.rpartition(":")[2], "test")
    remove(station.store, lost)
    # Nothing but the store has the manifest of a pinned version: without it only CAS_FALLBACK lets the hub stand in.
    fallback = "hub" if pinned and lost == "manifests" else ""
    done = restored(station, CAS_DEPLOYMENT="eu" if pinned else "", CAS_FALLBACK=fallback)
    assert (done.source, done.publish) == ("hub", False)
    assert [station.store in line for line in done.errors] == [True]


def test_a_version_that_was_asked_for_by_its_digest_and_is_not_there_is_no_damage(station: Station) -> None:
    station.publish()
    done = restored(station, CAS_MODEL="f5-tts@blake3:" + "0" * 64, CAS_FALLBACK="hub")
    assert (done.source, done.publish, done.errors) == ("hub", False, ())
