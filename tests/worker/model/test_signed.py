"""A worker that trusts keys runs what they signed, and nothing in its place: no mirror, machine or hub stands in."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from cas.errors import InputError, SignatureError
from cas.refs.reference import log_of, parse_reference
from cas.store.signing import canonical_name
from tests.support.keys import make_key
from tests.support.models import read_tree
from tests.worker.model.test_publish_process import STORY
from tests.worker.signed import SignedStation, runs, signed
from tests.worker.station import AWAY, FILES, ended, last_message, whole_output
from tools.servers.habits import HabitServer
from tools.servers.s3_answers import StoredObject
from worker.boot.messages import Restored
from worker.boot.settings import Settings
from worker.model.failed_sources import NoSource
from worker.model.ref_reader import RefReader

__all__ = ["signed"]

OF_SIGNATURES = {
    "cas.local.trusted_keys",
    "cas.formats.minisign",
    "cas.refs.signatures",
    "cas.refs.floors",
    "cryptography",
}
LOADED = """
import sys
from worker.boot.process import Parent
from worker.model import restore_process
restore_process.main(sys.argv[1:], Parent())
print(*sys.modules, file=sys.stderr, flush=True)
"""
DOWN = {"CAS_STORE": AWAY, "HF_ENDPOINT": AWAY}


def test_what_a_trusted_key_signed_runs_and_the_boot_says_who_signed_it(signed: SignedStation) -> None:
    booted = signed.walk(CAS_RECEIPT="true")
    assert runs(booted, "one")
    entry = booted.restored.signed
    assert entry is not None
    assert (entry.ref, entry.number, entry.key) == ("f5-tts:latest", 1, signed.key.id)
    assert entry.store == canonical_name(signed.station.store)
    assert booted.recorder.warnings == []
    (receipt,) = Path(signed.station.store).glob("receipts/*/*/*.json")
    assert json.loads(receipt.read_bytes())["signed"] == dataclasses.asdict(entry)
    assert signed.walk(CAS_TRUSTED_KEYS="").restored.signed is None


def test_without_keys_an_unsigned_tag_runs_and_nothing_of_signatures_is_loaded(signed: SignedStation) -> None:
    signed.move(signed.release("two", "f5-tts:two"), "f5-tts:latest")
    assert runs(signed.walk(CAS_TRUSTED_KEYS=""), "two")
    keys = str(signed.key.public)
    with_a_key = {"CAS_TRUSTED_KEYS": keys, "CAS_MODEL": "f5-tts:two"}
    loaded = [_loaded(signed, **env) for env in ({}, with_a_key)]
    assert loaded == [set(), OF_SIGNATURES], "the second shows that these are the names"


def _loaded(signed: SignedStation, **env: str) -> set[str]:
    """Return which of the modules about signatures a restoring process has loaded at its end."""
    out, err = whole_output(signed.station.start("-c", LOADED, str(signed.station.directories[0]), env=env))
    assert isinstance(last_message(out), Restored), err
    return OF_SIGNATURES.intersection(err.splitlines()[-1].split())


@pytest.mark.parametrize("fallback", ["", "bytes", "hub", "none"])
def test_an_unsigned_entry_ends_the_boot_whatever_could_stand_in(fallback: str, signed: SignedStation) -> None:
    assert runs(signed.walk(), "one")  # this machine has a signed version, and a record of it
    mirror = str(signed.station.folder / "mirror")
    shutil.copytree(signed.station.store, mirror)
    signed.move(signed.release("two", "f5-tts:two"), "f5-tts:latest")
    signed.station.hub.requests.clear()
    with pytest.raises(SignatureError, match=r"f5-tts:latest.* 2 .*cas sign") as raised:
        signed.walk(CAS_FALLBACK=fallback, CAS_MIRRORS=mirror, CAS_STORE_NAME=canonical_name(signed.station.store))
    assert raised.value.exit_code == 8
    assert signed.station.hub.requests == []


def test_a_foreign_key_and_another_stores_signature_end_the_boot(signed: SignedStation, tmp_path: Path) -> None:
    foreign = make_key(tmp_path / "keys", "foreign")
    signed.move(signed.release("two", "f5-tts:two"), "f5-tts:latest", key=foreign)
    with pytest.raises(SignatureError, match=foreign.id):
        signed.walk()
    elsewhere = signed.station.folder / "elsewhere"
    shutil.copytree(signed.station.store, elsewhere)
    signed.station.store = str(elsewhere)
    both = f"{signed.key.public},{foreign.public}"
    with pytest.raises(SignatureError, match="CAS_STORE_NAME"):
        signed.walk(CAS_TRUSTED_KEYS=both)


def test_a_pin_that_nobody_signed_makes_no_way_for_latest(signed: SignedStation) -> None:
    assert signed.walk(CAS_DEPLOYMENT="eu").restored.signed.ref == "f5-tts:latest"  # type: ignore[union-attr]
    signed.move(signed.release("two", "f5-tts:two"), "pin:eu/f5-tts")
    with pytest.raises(SignatureError, match="pin:eu/f5-tts"):
        signed.walk(CAS_DEPLOYMENT="eu")
    with pytest.raises(SignatureError, match="pin:us/f5-tts"):
        signed.walk(CAS_DEPLOYMENT="us", CAS_FLOOR="pin:us/f5-tts=1")  # whoever deleted its log gains nothing
    signed.release("three", "pin:us/f5-tts")
    booted = signed.walk(CAS_DEPLOYMENT="us", CAS_FLOOR="pin:us/f5-tts=1")
    assert runs(booted, "three")
    assert booted.restored.version_reason == "pin of deployment us"
    assert booted.restored.signed is not None and booted.restored.signed.ref == "pin:us/f5-tts"


def test_what_was_seen_is_kept_though_its_bytes_are_withheld(signed: SignedStation) -> None:
    signed.move(None, "pin:eu/f5-tts", key=signed.key)
    first = shutil.copytree(signed.station.store, signed.station.folder / "first")
    shutil.rmtree(Path(signed.station.store) / "chunks")
    signed.station.hub.down = True
    with pytest.raises(NoSource):
        signed.walk(CAS_DEPLOYMENT="eu")
    shutil.rmtree(signed.station.store)
    shutil.copytree(first, signed.station.store)
    shutil.rmtree(Path(signed.station.store) / "refs/pins")
    with pytest.raises(SignatureError, match=r"pin:eu/f5-tts.* has no entries, but entry 1"):
        signed.walk(CAS_DEPLOYMENT="eu")
    for entry in Path(signed.station.store).glob("refs/tags/f5-tts/latest/*"):
        entry.unlink()
    with pytest.raises(SignatureError, match=r"f5-tts:latest.* has no entries, but entry 1"):
        signed.walk()


def test_what_was_signed_and_is_withheld_makes_no_way_for_the_hubs_main(signed: SignedStation) -> None:
    for chunk in Path(signed.station.store).glob("chunks/*/*"):
        chunk.unlink()
    ran = signed.station.boot(CAS_TRUSTED_KEYS=str(signed.key.public), CAS_FALLBACK="hub")
    assert (ran.code, ran.receipt["fallback"]) == (6, "bytes"), ran.err
    assert not any("/main" in path for _, path in signed.station.hub.requests)


def test_a_signed_record_comes_before_the_hubs_main(signed: SignedStation) -> None:
    signed.walk()
    name = canonical_name(signed.station.store)
    booted = signed.walk(CAS_FALLBACK="hub", CAS_STORE=AWAY, CAS_STORE_NAME=name)
    assert (booted.restored.source, booted.number) == ("here", 1)


def test_a_few_digits_of_a_digest_name_nothing_that_was_signed(signed: SignedStation) -> None:
    digest = signed.release("two", "f5-tts:two")
    booted = signed.walk(CAS_MODEL=f"f5-tts@blake3:{digest}")
    for store in (signed.station.store, AWAY):  # which version this machine knows by them says nothing, either
        with pytest.raises(SignatureError, match="write all of them"):
            signed.walk(CAS_MODEL=f"f5-tts@{digest[:63]}", CAS_STORE=store)
    assert runs(booted, "two")
    assert booted.restored.signed is None, "a whole digest needs no signature"


def test_a_newer_manifest_that_is_withheld_or_swapped_brings_no_older_version_back(signed: SignedStation) -> None:
    old, a, b = signed.walk(), *signed.station.directories
    digest = signed.release("two")
    mirror = signed.station.folder / "mirror"
    shutil.copytree(signed.station.store, mirror)
    manifest = Path(signed.station.store, f"manifests/f5-tts/{digest}.json")
    older = manifest.with_name(f"{old.restored.version.rpartition(':')[2]}.json").read_bytes()
    manifest.write_bytes(older)
    for _ in range(2):
        with pytest.raises(NoSource, match="Hugging Face: not asked"):
            signed.walk(a)
        manifest.unlink(missing_ok=True)
    booted = signed.walk(a, CAS_MIRRORS=str(mirror))
    assert runs(booted, "two"), "the mirror gives the bytes of what was signed"
    assert (booted.restored.source, booted.number) == ("mirror", 2)
    shutil.rmtree(mirror)
    assert runs(signed.walk(a), "two"), "and so does this machine"
    with pytest.raises(NoSource):
        signed.walk(b)


def test_a_key_that_was_withdrawn_starts_no_worker_any_more(signed: SignedStation, tmp_path: Path) -> None:
    a, _ = signed.station.directories
    here = {"CAS_STORE_NAME": canonical_name(signed.station.store)}
    newer = make_key(tmp_path / "keys", "newer")
    signed.walk(a, **here)
    only = {**here, "CAS_TRUSTED_KEYS": str(newer.public)}
    with pytest.raises(SignatureError, match=signed.key.id):
        signed.walk(a, **only)
    with pytest.raises(NoSource, match="not asked"):
        signed.walk(a, **only, **DOWN)
    signed.release("two", key=newer)
    assert runs(signed.walk(a, **only), "two")
    assert signed.walk(a, **only, **DOWN).number == 2


def test_a_volume_refuses_what_is_older_than_it_has_seen(signed: SignedStation) -> None:
    a, b = signed.station.directories
    signed.walk(a)
    first = shutil.copytree(signed.station.store, signed.station.folder / "first")
    signed.release("two")
    signed.walk(b)
    shutil.rmtree(signed.station.store)
    shutil.copytree(first, signed.station.store)  # the newer entry is gone, as if it had never been
    with pytest.raises(SignatureError, match=r"f5-tts:latest.* 1.* 2 ") as raised:
        signed.walk(a, b)
    assert "begun anew" in str(raised.value)
    assert runs(signed.walk(signed.station.folder / "fresh"), "one"), "a fresh machine cannot know"


def test_a_cache_before_the_bucket_is_no_way_around_the_keys(signed: SignedStation) -> None:
    files, name = Path(signed.station.store), canonical_name(signed.station.store)
    with HabitServer() as server:
        variables = {
            "CAS_STORE": "s3://bucket/cas",
            "CAS_STORE_NAME": name,
            "CAS_READ_URL": f"{server.url}/bucket/cas",
            "AWS_ENDPOINT_URL": server.url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }
        _upload(files, server)
        booted = signed.walk(**variables)
        assert runs(booted, "one") and booted.number == 1
        signed.move(signed.release("two", "f5-tts:two"), "f5-tts:latest")
        _upload(files, server)
        with pytest.raises(SignatureError, match="entry 2 has no signature"):
            signed.walk(**variables)


def _upload(folder: Path, server: HabitServer) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            server.objects[f"cas/{path.relative_to(folder)}"] = StoredObject(path.read_bytes(), 1.0)


def test_keys_that_cannot_be_read_end_the_boot_and_not_one_source_of_it(signed: SignedStation) -> None:
    for value in ("/none.pub", str(signed.station.folder)):
        with pytest.raises(InputError, match="CAS_TRUSTED_KEYS"):
            signed.walk(CAS_TRUSTED_KEYS=value, CAS_FALLBACK="hub", CAS_MIRRORS=signed.station.store)


def test_a_switch_that_leaves_stores_alone_leaves_their_keys_alone(
    signed: SignedStation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAS_TRUSTED_KEYS", str(signed.key.public))
    for enabled in (True, False):
        reader = RefReader(Settings.read({"S3_BUCKET": "b", "ENABLE_S3_MODEL_CACHE": str(enabled)}))
        assert bool(reader.trust) is enabled


def test_where_nothing_was_released_the_hub_stands_in_if_somebody_says_so_and_the_publish_leaves_the_tag(
    signed: SignedStation,
) -> None:
    shutil.rmtree(Path(signed.station.store))
    with pytest.raises(NoSource, match="not asked"):
        signed.walk()
    keys = {"CAS_TRUSTED_KEYS": str(signed.key.public)}
    ran = ended(signed.station.start("-c", STORY, env={**keys, "CAS_FALLBACK": "hub"}))
    assert (ran.code, ran.receipt["source"], ran.receipt.get("signed")) == (0, "hub", None), ran.err
    assert any("no trusted key signed" in line for line in ran.warnings)
    (digest,) = signed.station.versions()
    (told,) = (line for line in ran.err.splitlines() if "background publish" in line)
    assert f"cas sign f5-tts@blake3:{digest} --tag latest" in told and "warning" not in told
    assert log_of(signed.store(), parse_reference("f5-tts")).names() == []
    signed.move(digest, "f5-tts:latest", key=signed.key)
    restored = signed.walk(signed.station.folder / "fresh").restored
    assert {repo: read_tree(Path(folder)) for repo, folder in restored.snapshots.items()} == FILES
