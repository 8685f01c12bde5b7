"""What was released before is put into force again: floors, what a cache has seen, revoked keys, clocks, receipts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cas
from cas.bucket import Kind
from cas.errors import SignatureError
from cas.ops.serve.catalog import Catalog
from cas.refs.reference import log_of, parse_reference
from cas.store import layout
from cas.store.store import open_store
from tests.attacks.shop import GOOD, OLD, Intruder, Reader, Shop
from tests.support.in_process import call_cas
from tests.support.keys import make_key
from tests.support.models import REPO


@pytest.fixture
def deleter(shop: Shop) -> Intruder:
    """Somebody whose key to the bucket may delete, as a publisher's key of Cloudflare R2 may."""
    return shop.intruder("publisher")


def delete_entries(at: Intruder, ref: str, *, all_but: int = 0) -> None:
    """Delete the entries of a ref with their signatures, but for the first ones."""
    for key in at.entries(ref)[all_but:]:
        for each in (key, *at.signatures(key)):
            at.bucket.delete(each)


def test_an_older_release_is_refused_below_a_floor_and_runs_without_one(deleter: Intruder, reader: Reader) -> None:
    delete_entries(deleter, "m:latest", all_but=1)
    assert reader.restore("m:latest").files == OLD, "nothing here knows of a newer one: docs/security.md, Freshness"
    refused = reader.restore("m:latest", CAS_FLOOR="m:latest=2")
    assert (refused.code, refused.files) == (8, {}), refused.error
    assert "entry 1, below its floor of 2" in refused.error
    delete_entries(deleter, "m:latest")
    assert reader.restore("m:latest").code == 3
    refused = reader.restore("m:latest", CAS_FLOOR="m:latest=2")
    assert (refused.code, refused.files) == (8, {}), refused.error
    moved = call_cas("tag", f"m@blake3:{deleter.shop.good}", "latest", env={"CAS_FLOOR": "m:latest=2"})
    assert moved.returncode == 0, moved.stderr
    assert reader.restore("m:latest", CAS_FLOOR="m:latest=2").files == GOOD


@pytest.mark.parametrize("left", [0, 1], ids=["deleted", "shortened"])
def test_a_pin_that_is_gone_makes_way_for_nothing_where_it_has_a_floor(
    left: int, deleter: Intruder, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete_entries(deleter, "pin:eu-prod/m", all_but=left)
    monkeypatch.setenv("CAS_FLOOR", "pin:eu-prod/m=2")
    with pytest.raises(SignatureError, match=r"pin:eu-prod/m .* below its floor of 2"):
        cas.choose({"CAS_DEPLOYMENT": "eu-prod"}, model="m")


def test_a_cache_that_has_seen_a_newer_entry_refuses_an_older_one(deleter: Intruder, reader: Reader) -> None:
    volume = {"HF_HUB_CACHE": str(reader.folder / "volume")}
    for ref in ("m:latest", "pin:eu-prod/m"):
        assert call_cas("restore", ref, env=volume).returncode == 0
        delete_entries(deleter, ref, all_but=1)
        refused = call_cas("restore", ref, env=volume)
        assert refused.returncode == 8, refused.stderr
        for words in (ref, "entry 1", "entry 2"):
            assert words in refused.stderr
        delete_entries(deleter, ref)
        assert call_cas("restore", ref, env=volume).returncode == 8
    assert call_cas("prune", env=volume).returncode == 0
    for ref in ("m:latest", "pin:eu-prod/m"):
        assert call_cas("restore", ref, env=volume).returncode == 8, "what was seen outlives what was restored"


def test_a_deployment_whose_pin_a_cache_has_seen_does_not_fall_back_to_latest(
    deleter: Intruder, reader: Reader
) -> None:
    volume = {"HF_HUB_CACHE": str(reader.folder / "volume"), "CAS_DEPLOYMENT": "eu-prod"}
    assert call_cas("env", "pin:eu-prod/m", env=volume).returncode == 0
    assert call_cas("restore", "pin:eu-prod/m", env=volume).returncode == 0
    delete_entries(deleter, "pin:eu-prod/m")
    other = log_of(open_store(), parse_reference("pin:eu-prod/n"))
    other.append(deleter.shop.other, "another model that the deployment has pinned, too")
    refused = call_cas("restore", "pin:eu-prod/m", env=volume)
    assert refused.returncode == 8, refused.stderr


def test_a_server_serves_nothing_in_place_of_a_tag_whose_log_is_gone(
    deleter: Intruder, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [100.0]
    running = Catalog(open_store(), ["m:latest", "m:old"], clock=lambda: seconds[0])
    assert running.find("model", REPO).version.digest == deleter.shop.good
    delete_entries(deleter, "m:latest")
    seconds[0] += 10
    with pytest.raises(SignatureError, match="it was at 2 while this server ran"):
        running.find("model", REPO)
    monkeypatch.setenv("CAS_FLOOR", "m:latest=2")
    with pytest.raises(SignatureError, match="its floor is 2"):
        Catalog(open_store(), ["m:latest", "m:old"]).find("model", REPO)


def test_numbers_that_nobody_signed_are_not_remembered(deleter: Intruder, reader: Reader) -> None:
    volume = {"HF_HUB_CACHE": str(reader.folder / "volume")}
    far = deleter.append("m:latest", deleter.evil, 10**9)
    assert call_cas("restore", "m:latest", env=volume).returncode == 8
    deleter.bucket.delete(far)
    assert call_cas("restore", "m:latest", env=volume).returncode == 0


def test_a_revoked_key_counts_no_more_and_what_it_signed_is_signed_by_the_next(
    shop: Shop, intruder: Intruder, reader: Reader, tmp_path: Path
) -> None:
    following = make_key(tmp_path, "following")
    revoked = {"CAS_TRUSTED_KEYS": following.line}
    refused = reader.restore("m:latest", **revoked)
    assert (refused.code, refused.files) == (8, {}), refused.error
    assert f"is signed by {shop.keys.id} alone, which is not trusted here" in refused.error
    both = {"CAS_TRUSTED_KEYS": f"{shop.keys.line} {following.line}", "CAS_SIGNING_KEY": str(following.file)}
    forged = intruder.append("m:prod", intruder.evil)
    rotated = call_cas("sign", "m:latest", "m:prod", "--rotate", env=both)
    assert rotated.returncode == 8, rotated.stderr
    assert "m:prod (unsigned)" in rotated.stderr
    assert intruder.signatures(forged) == [], "what no key had signed is signed by none"
    assert reader.restore("m:latest", **revoked).files == GOOD
    intruder.keys = shop.keys  # the key that was revoked was stolen, too
    key, data = intruder.next("m:latest"), intruder.entry(intruder.evil)
    intruder.sign(key, data)
    intruder.write(key, data)
    assert reader.restore("m:latest", **revoked).code == 8
    assert call_cas("rollback", "m:latest", env={**both, **revoked}).returncode == 0
    assert reader.restore("m:latest", **revoked).files == GOOD


def test_a_rotation_signs_nothing_below_a_floor_and_tells_of_what_it_cannot_read(
    shop: Shop, intruder: Intruder, tmp_path: Path
) -> None:
    following = make_key(tmp_path, "following")
    both = {"CAS_TRUSTED_KEYS": f"{shop.keys.line} {following.line}", "CAS_SIGNING_KEY": str(following.file)}
    first, second = intruder.entries("m:latest")
    intruder.write(intruder.next("m:prod"), b"{")
    rotated = call_cas(
        "sign", "m:latest", "m:prod", "m:old", "--rotate", env={**both, "CAS_FLOOR": "m:latest=2,m:old=2"}
    )
    assert rotated.returncode == 8, rotated.stderr
    for words in ("m:prod (unreadable)", "m:old (below the floor)"):
        assert words in rotated.stderr
    assert [len(intruder.signatures(key)) for key in (first, second, *intruder.entries("m:old"))] == [1, 2, 1]


def test_numbers_count_and_no_clock_does(shop: Shop, reader: Reader) -> None:
    log = log_of(open_store(), parse_reference("m:latest"))
    log.append(shop.old, "by a clock that is ahead", created="2199-01-01T00:00:00Z")
    log.append(shop.good, "by a clock that was set back", created="1990-01-01T00:00:00Z")
    assert reader.restore("m:latest").files == GOOD


def test_forged_receipts_choose_nothing(intruder: Intruder, reader: Reader) -> None:
    for at in ("2026-01-01T00:00:00Z", "2199-01-01T00:00:00Z"):
        document = {"reference": "pin:eu-prod/m", "version": f"m@blake3:{intruder.evil}", "ok": True}
        key = layout.receipt_key("eu-prod", at, intruder.evil, "0" * 16)
        intruder.write(key, json.dumps(document).encode())
    done = reader.restore("pin:eu-prod/m", CAS_DEPLOYMENT="eu-prod")
    assert (done.code, done.files) == (0, GOOD), done.error


def test_a_manifest_of_other_bytes_and_a_withheld_chunk_restore_nothing(
    shop: Shop, deleter: Intruder, reader: Reader
) -> None:
    manifest = layout.manifest_key("m", shop.good)
    chunk = layout.chunk_key(open_store().get_manifest("m", shop.good).repos[0].files[1].chunks[0].digest)
    true = deleter.read(manifest)
    deleter.write(manifest, deleter.read(layout.manifest_key("m", deleter.evil)))
    damaged = reader.restore("m:latest")
    assert (damaged.code, damaged.files) == (4, {}), damaged.error
    shop.admin.put(manifest, true, Kind.MANIFEST, overwrite=True)
    deleter.bucket.delete(chunk)
    withheld = reader.restore("m:latest")
    assert (withheld.code, withheld.files) == (3, {}), withheld.error
