"""What a cache directory records of the last version that it was given."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import cas
from cas.refs.reference import resolve
from cas.store.signing import canonical_name
from cas.store.store import open_store
from tests.support.models import put_model
from tests.worker.signed import SignedStation, runs, signed
from tests.worker.station import AWAY, FILES, Station
from worker.model.failed_sources import NoSource
from worker.model.records import last_version, write_last_version

__all__ = ["signed"]

DOWN = {"CAS_STORE": AWAY, "HF_ENDPOINT": AWAY}


def test_a_record_of_another_model_is_not_this_models_last_version(station: Station, tmp_path: Path) -> None:
    store = open_store(station.store)
    put_model(store, FILES, model="other")
    version = resolve(store, "other")
    write_last_version(tmp_path, version, store)
    recorded = last_version(tmp_path, "other")
    assert recorded is not None
    assert recorded.exact == version.exact
    for end in ("json", "json.b3"):
        (tmp_path / f".cas-worker/other.{end}").rename(tmp_path / f".cas-worker/f5-tts.{end}")
    assert cas.read_lock(tmp_path / ".cas-worker/f5-tts.json").manifest.model == "other"
    assert last_version(tmp_path, "f5-tts") is None


def test_a_record_counts_while_the_store_is_away_only_if_its_entry_was_signed(signed: SignedStation) -> None:
    a, b = signed.station.directories
    here = {"CAS_STORE_NAME": canonical_name(signed.station.store), **DOWN}
    signed.walk(a, CAS_TRUSTED_KEYS="")
    with pytest.raises(NoSource, match="not asked"):
        signed.walk(a, **here)
    signed.walk(b)
    booted = signed.walk(a, b, **here)
    assert (booted.restored.source, booted.number) == ("here", 1)
    assert runs(booted, "one")
    with pytest.raises(NoSource, match="not asked"):
        signed.walk(b, **DOWN)  # the record is of another store
    with pytest.raises(NoSource, match="not asked"):
        signed.walk(b, **here, CAS_FLOOR="f5-tts:latest=2")
    record = b / ".cas-worker/tags/f5-tts/latest.json.signed"
    changed = json.loads(record.read_bytes())
    record.write_text(json.dumps({**changed, "digest": "0" * 64}))
    with pytest.raises(NoSource, match="not asked"):
        signed.walk(b, **here)


def test_the_newest_of_the_records_counts(signed: SignedStation) -> None:
    a, b = signed.station.directories
    here = {"CAS_STORE_NAME": canonical_name(signed.station.store), **DOWN}
    signed.walk(a)
    signed.release("two")
    assert signed.walk(b).number == 2  # as when a is full
    booted = signed.walk(a, b, **here)
    assert (booted.number, runs(booted, "two")) == (2, True)
    shutil.rmtree(b / ".cas-worker")
    with pytest.raises(NoSource, match="not asked"):
        signed.walk(a, b, **here)


def test_a_record_of_latest_counts_until_a_pin_was_seen(signed: SignedStation) -> None:
    (a, _), eu = signed.station.directories, {"CAS_DEPLOYMENT": "eu"}
    away = {"CAS_STORE_NAME": canonical_name(signed.station.store), **eu, **DOWN}
    signed.walk(a, **eu)
    pinned = signed.release("two", "pin:eu/f5-tts")
    (Path(signed.station.store) / f"manifests/f5-tts/{pinned}.json").unlink()
    with pytest.raises(NoSource):
        signed.walk(a, **eu)  # who withholds what was pinned
    with pytest.raises(NoSource, match="not asked"):
        signed.walk(a, **away)  # and then the store, gets no other version to run
    signed.move(None, "pin:eu/f5-tts", key=signed.key)
    signed.walk(a, **eu)
    booted = signed.walk(a, **away)
    assert (booted.restored.source, booted.number, runs(booted, "one")) == ("here", 1, True)
