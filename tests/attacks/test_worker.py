"""A worker with the release key boots with what was released or not at all, whoever writes to the bucket."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cas.bucket import open_bucket
from cas.formats.manifest import Manifest, digest_of
from cas.store import layout
from cas.store.store import Store, open_store
from tests.attacks.shop import Intruder, Shop
from tests.support.models import Files, put_model, write_tree
from tests.worker.station import FILES, SPEECH, VOCODER, Ran, Station
from tools.servers.hub import Hub

OLDER = {SPEECH: {**FILES[SPEECH], "F5TTS_v1_Base/vocab.txt": b"old\n"}, VOCODER: FILES[VOCODER]}
EVIL = {SPEECH: {**FILES[SPEECH], "F5TTS_v1_Base/vocab.txt": b"evil\n"}, VOCODER: FILES[VOCODER]}


@pytest.fixture
def speech(shop: Shop) -> Manifest:
    """The version of f5-tts that was released last; `f5-tts:latest` names it, after an older one."""
    store = open_store()
    put_model(store, OLDER, model="f5-tts", chunk=1 << 20)
    return put_model(store, FILES, model="f5-tts", chunk=1 << 20)


@pytest.fixture
def station(speech: Manifest, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Station]:
    """A worker with a reader's key to the bucket, and a hub that has other files as main."""
    monkeypatch.delenv("CAS_SIGNING_KEY")
    monkeypatch.setenv("RUNPOD_MIN_DISK_PERCENT", "0")
    for repo, content in EVIL.items():
        write_tree(tmp_path / "root" / repo, content)
    with Hub(tmp_path / "root") as hub:
        variables = {**shop.variables("reader"), "CAS_RECEIPT": "false"}
        yield Station(hub, shop.url, tmp_path, tmp_path / "published", variables)


def bring(intruder: Intruder, repos: Mapping[str, Files] = EVIL, model: str = "f5-tts") -> str:
    """Have the intruder store a version that nothing names; return its digest (64 hex)."""
    made = Store(open_bucket("memory:"))
    digest = digest_of(put_model(made, repos, model=model, chunk=1 << 20))
    for entry in (*made.bucket.list(layout.CHUNKS), *made.bucket.list(layout.MANIFESTS)):
        intruder.write(entry.key, bytes(made.bucket.get(entry.key, 1 << 22)))
    return digest


def check_refused(station: Station, ran: Ran, code: int, *words: str) -> None:
    """Check that a boot ended with an exit code, said why, showed no file, and took nothing that a hub has as main."""
    assert ran.code == code, ran.err
    for each in words:
        assert each in ran.err
    assert not [path for folder in station.directories for path in folder.rglob("snapshots/*/*")]
    assert not [path for _, path in station.hub.requests if "/main" in path]


def test_an_appended_entry_ends_the_boot_and_nothing_stands_in(station: Station, intruder: Intruder) -> None:
    mirror = str(station.folder / "mirror")
    put_model(Store(open_bucket(mirror)), EVIL, model="f5-tts", chunk=1 << 20)
    intruder.append("f5-tts:latest", bring(intruder))
    ran = station.boot(CAS_FALLBACK="hub", CAS_MIRRORS=mirror)
    check_refused(station, ran, 8, "f5-tts:latest", "entry 3 has no signature")


def test_a_vocoder_of_a_version_of_its_own_is_signed_too(station: Station, intruder: Intruder) -> None:
    store = open_store()
    store.signer = intruder.shop.keys.secret
    put_model(store, {SPEECH: FILES[SPEECH]}, model="f5-tts", chunk=1 << 20)
    put_model(store, {VOCODER: FILES[VOCODER]}, model="vocos", chunk=1 << 20)
    intruder.append("vocos:latest", bring(intruder, {VOCODER: {**FILES[VOCODER], "config.yaml": b"a: 2\n"}}, "vocos"))
    ran = station.boot()
    assert ran.code == 8, ran.err
    assert "vocos:latest" in ran.err
    assert not [path for _, path in station.hub.requests if "/main" in path]
    assert not [path for folder in station.directories for path in folder.glob("hub/models--charactr*/snapshots/*/*")]


def test_a_withheld_chunk_ends_the_boot_without_another_version(station: Station, shop: Shop, speech: Manifest) -> None:
    withheld = speech.repos[0].files[-1].chunks[0].digest
    shop.intruder("publisher").bucket.delete(layout.chunk_key(withheld))
    check_refused(station, station.boot(), 6, withheld)


def test_a_log_without_a_trace_is_no_reason_for_what_the_hub_has(station: Station, shop: Shop) -> None:
    intruder = shop.intruder("publisher")
    for key in intruder.entries("f5-tts:latest"):
        for each in (key, *intruder.signatures(key)):
            intruder.bucket.delete(each)
    check_refused(station, station.boot(), 6, "f5-tts:latest is not in")


def test_a_volume_remembers_the_number_that_it_saw(station: Station, shop: Shop) -> None:
    station.check(station.boot())
    intruder = shop.intruder("publisher")
    last = intruder.entries("f5-tts:latest")[-1]
    for key in (last, *intruder.signatures(last)):
        intruder.bucket.delete(key)
    ran = station.boot()
    assert ran.code == 8, ran.err
    for words in ("f5-tts:latest", "is at entry 1, but entry 2 "):
        assert words in ran.err
