"""`cas sign`: what it shows, what it signs, what it leaves alone, and how one key follows another."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas.formats.digest import named
from cas.formats.minisign import SecretKey
from cas.refs.history import history
from cas.refs.reflog import Ref, RefLog
from cas.store import layout
from tests.refs.conftest import Desk
from tests.refs.signing import FOREIGN, NEXT, OURS, replace, signature_keys, signatures_of, signed, variables
from tests.support.keys import write_keys


def trusting(monkeypatch: pytest.MonkeyPatch, folder: Path, *keys: SecretKey, signs: bool = True) -> None:
    """Set the variables of somebody who trusts some keys and signs with OURS, or with nothing."""
    monkeypatch.delenv("CAS_SIGNING_KEY", raising=False)
    for name, value in variables(folder, signs=signs, trusted=keys or (OURS,)).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def keys(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the keys; the variables are those of somebody who trusts OURS and signs with it."""
    trusting(monkeypatch, tmp_path / "keys")
    return tmp_path / "keys"


def signers(desk: Desk, ref: Ref, at: int = -1) -> list[str]:
    """Return the ids of the keys that signed an entry, by the names of the signatures."""
    log = RefLog(desk.store, ref)
    return [found.key_id for found in log.signatures(log.names()[at])]


LATEST = Ref("tags", "m", "latest")


def test_what_is_in_force_is_shown_and_signed(desk: Desk, keys: Path) -> None:
    desk.refused(8, "restore", "m")
    before = desk.store.bucket.list("")
    shown = desk.json("sign", "m", "-n")
    entry = desk.log("m").current()
    assert entry is not None
    assert shown == [
        {
            "ref": "m:latest",
            "entry": 3,
            "name": desk.log("m").names()[-1],
            "manifest": named(desk.versions[2]),
            "by": entry.by,
            "created": entry.created,
            "reason": "publish",
            "signed_by": [],
            "in_force": True,
            "added": True,
            "problem": None,
        }
    ]
    assert desk.store.bucket.list("") == before
    done = desk.done("sign", "m")
    assert done.splitlines()[1].split()[:4] == ["m:latest", "*", "3", desk.versions[2][:12]]
    assert done.rstrip().endswith("signed")
    assert signers(desk, LATEST) == [OURS.public.id]
    assert signers(desk, LATEST, 0) == []
    desk.done("restore", "-q", "m")
    assert desk.json("sign", "m")[0] | {"signed_by": 0} == shown[0] | {"signed_by": 0, "added": False}
    assert desk.json("sign", "m", "-n")[0]["signed_by"] == [OURS.public.id]
    assert desk.done("sign", "m").rstrip().endswith("as before")


def test_what_is_signed_is_named_as_it_is(desk: Desk, keys: Path) -> None:
    """Whoever may delete a pin and add another must not choose which one `pin:eu` is when it is signed."""
    desk.done("sign", "m")
    desk.done("pin", "eu", "m")
    before = signature_keys(desk.store)
    for text in ("pin:eu", "M", desk.versions[0]):
        desk.refused(3 if text == "M" else 2, "sign", text)
    assert signature_keys(desk.store) == before


def test_all_tags_and_pins_are_signed_at_once_removed_ones_too(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.done("pin", "eu", "m")
    desk.done("tag", "m", "old")
    desk.done("untag", "m:old")
    trusting(monkeypatch, tmp_path / "keys")
    found = desk.json("sign", "--all")
    assert [(row["ref"], row["entry"], row["manifest"] is None) for row in found] == [
        ("pin:eu/m", 1, False),
        ("m:latest", 3, False),
        ("m:old", 2, True),
        ("other:latest", 1, False),
    ]
    assert len(signature_keys(desk.store)) == 4
    assert "was removed from" in desk.refused(3, "restore", "m:old")
    for ref in ("m", "pin:eu/m", "other"):
        desk.done("restore", "-q", ref)


def test_what_cannot_be_right_is_not_signed(desk: Desk, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "names a version by" not in desk.refused(2, "sign", desk.exact(2))
    assert "add --tag TAG" in desk.refused(2, "sign", desk.exact(2))
    assert "say what to sign" in desk.refused(2, "sign")
    assert "say what to sign" in desk.refused(2, "sign", "m", "--all")
    assert "one version" in desk.refused(2, "sign", "m", "other", "--tag", "x")
    assert "goes without --rotate" in desk.refused(2, "sign", "m", "--rotate", "--expect", "none")
    assert "m:nothing is not in" in desk.refused(3, "sign", "m", "m:nothing")
    line = desk.refused(6, "sign", "m", "--expect", desk.versions[0])
    assert f"(expected: {desk.versions[0]})" in line
    assert "is no version to expect" in desk.refused(2, "sign", "m", "--expect", "x")
    monkeypatch.setenv("CAS_FLOOR", "m:latest=4")
    assert "is at entry 3, below its floor of 4" in desk.refused(8, "sign", "m")
    monkeypatch.delenv("CAS_FLOOR")
    key = f"{LATEST.prefix}/00000004-{'0' * 16}.json"
    replace(desk.store, key, b"{}")
    assert "is malformed" in desk.refused(5, "sign", "m")
    unknown = b'{"manifest":"%s","created":"2026-11-23T03:00:00Z","by":"x","reason":"x"}' % named("0" * 64).encode()
    replace(desk.store, key, unknown)
    assert f"has no version blake3:{'0' * 64}" in desk.refused(3, "sign", "m")
    desk.store.bucket.delete(key)
    assert signature_keys(desk.store) == []
    desk.done("sign", "m", "--expect", desk.versions[2][:8])


def test_it_takes_a_key_that_is_trusted_here(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--sign-with or CAS_SIGNING_KEY" in desk.refused(2, "sign", "m")
    assert desk.json("sign", "m", "-n")[0]["added"]
    foreign, _ = write_keys(tmp_path / "keys", "foreign", FOREIGN)
    trusting(monkeypatch, tmp_path / "keys", signs=False)
    for words in (("m",), ("--all",), ("m", "--rotate"), (desk.exact(0), "--tag", "latest")):
        assert f"the key {FOREIGN.public.id}" in desk.refused(8, "sign", *words, "--sign-with", foreign)
        assert "--sign-with or CAS_SIGNING_KEY" in desk.refused(2, "sign", *words)
    assert "there is no key at" in desk.refused(2, "sign", "m", "--sign-with", str(tmp_path / "none"))
    assert signature_keys(desk.store) == []
    monkeypatch.delenv("CAS_TRUSTED_KEYS")
    desk.done("sign", "m", "--sign-with", foreign)  # where nobody is trusted, a key just signs
    assert signers(desk, LATEST) == [FOREIGN.public.id]


def test_a_tag_is_moved_to_a_version_signed(desk: Desk, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = desk.store.bucket.list("")
    assert desk.done("sign", desk.exact(0), "--tag", "latest", "-n") == f"would move m:latest to {desk.exact(0)}\n"
    (planned,) = desk.json("sign", desk.exact(0), "--tag", "latest", "-n")
    assert (planned["ref"], planned["entry"], planned["added"]) == ("m:latest", None, True)
    assert planned["manifest"] == desk.exact(0).partition("@")[2]
    assert planned.keys() == desk.json("sign", "m", "-n")[0].keys()
    assert desk.store.bucket.list("") == before
    found = desk.json("sign", desk.exact(0), "--tag", "latest", "--tag", "prod", "--by", "ann")
    assert [(row["ref"], row["entry"], row["by"], row["reason"], row["added"]) for row in found] == [
        ("m:latest", 4, "ann", "sign", True),
        ("m:prod", 1, "ann", "sign", True),
    ]
    signing = signed(desk.store)
    assert RefLog(signing, LATEST).current_digest() == desk.versions[0]
    # A version that was released again is a step forward, as with a publish: the way back leads to what was before.
    desk.json("sign", desk.exact(1), "--tag", "latest")
    desk.json("sign", desk.exact(0), "--tag", "latest")
    assert desk.json("rollback", "m")["reference"] == desk.exact(1)
    line = desk.refused(6, "sign", desk.exact(2), "--tag", "latest", "--expect", "none")
    assert "(expected: nothing)" in line

    # Where nothing is trusted, a tag that names the version already is not moved, but signed.
    monkeypatch.delenv("CAS_TRUSTED_KEYS")
    monkeypatch.delenv("CAS_SIGNING_KEY")
    desk.done("tag", desk.exact(2), "new")
    own, _ = write_keys(keys, "ours", OURS)
    assert [
        (row["entry"], row["added"]) for row in desk.json("sign", desk.exact(2), "--tag", "new", "--sign-with", own)
    ] == [(1, True)]
    assert signers(desk, Ref("tags", "m", "new")) == [OURS.public.id]


def test_one_key_follows_another(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "keys"
    following, _ = write_keys(folder, "next", NEXT)
    trusting(monkeypatch, folder)
    for number in (0, 1):
        desk.done("sign", desk.exact(number), "--tag", "latest")
    desk.done("pin", "eu", "m")
    unsigned = f"{LATEST.prefix}/00000006-{'0' * 16}.json"
    replace(desk.store, unsigned, bytes(desk.store.bucket.get(f"{LATEST.prefix}/{desk.log('m').names()[0]}", 9999)))
    line = desk.refused(8, "sign", "--rotate", "--all", "--sign-with", following)
    assert NEXT.public.id in line

    trusting(monkeypatch, folder, OURS, NEXT)
    before = len(signature_keys(desk.store))
    done = desk.cas("--json", "sign", "--rotate", "--all", "--sign-with", following, "-n")
    assert len(signature_keys(desk.store)) == before
    done = desk.cas("sign", "--rotate", "--all", "--sign-with", following)
    assert done.returncode == 8
    assert "left alone: m:latest (unsigned), other:latest (unsigned)." in done.stderr
    assert [line.split()[-1] for line in done.stdout.splitlines()[1:]] == [
        "signed",  # pin:eu/m
        "signed",  # m:latest, its two entries that OURS signed
        "signed",
        "unsigned",  # what somebody appended
        "unsigned",  # other:latest
    ]
    assert sorted({found.key_id for found in signatures_of(desk.store, "refs")}) == [OURS.public.id, NEXT.public.id]
    assert [signers(desk, LATEST, at) for at in range(6)] == [[]] * 3 + [[OURS.public.id, NEXT.public.id]] * 2 + [[]]

    # The old key goes: what it alone signed counts no more, and the way back is there.
    trusting(monkeypatch, folder, NEXT, signs=False)
    desk.done("restore", "-q", "pin:eu/m")
    assert "entry 6 has no signature" in desk.refused(8, "restore", "m")
    assert desk.json("rollback", "m", "--sign-with", following)["reference"] == desk.exact(1)
    assert desk.json("rollback", "m", "--sign-with", following)["reference"] == desk.exact(0)
    desk.done("restore", "-q", "m")
    store = signed(desk.store, NEXT, signer=None)
    assert [past.problem for past in history(store, "m")] == ["unsigned"] * 3 + ["", "", "unsigned", "", ""]
    assert desk.json("sign", "--rotate", "m", "--sign-with", following)[0]["added"] is False


def test_a_rotation_takes_keys_to_believe(desk: Desk, tmp_path: Path) -> None:
    following, _ = write_keys(tmp_path / "keys", "next", NEXT)
    assert "no keys are trusted here" in desk.refused(2, "sign", "--rotate", "--all", "--sign-with", following)


def test_a_signature_that_was_replaced_is_written_anew(desk: Desk, keys: Path) -> None:
    desk.done("sign", "m")
    (beside,) = signature_keys(desk.store)
    right = bytes(desk.store.bucket.get(beside, 9999))
    replace(desk.store, beside, b"nothing")
    assert "a signature that is not valid" in desk.refused(8, "restore", "m")
    assert desk.json("sign", "m")[0]["added"]
    assert bytes(desk.store.bucket.get(beside, 9999)) == right
    assert layout.ref_signature(beside) is not None


def test_a_rotation_says_why_it_left_an_entry_alone(desk: Desk, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.done("sign", "m")
    monkeypatch.setenv("CAS_FLOOR", "m:latest=99")
    done = desk.cas("sign", "--rotate", "m")
    assert (done.returncode, "m:latest (below the floor)" in done.stderr) == (8, True)
    assert "no trusted key signed" not in done.stderr  # one did
    assert "move it anew (`cas tag`" in done.stderr
    replace(desk.store, f"{LATEST.prefix}/00000100-{'0' * 16}.json", b"{}")
    done = desk.cas("sign", "--rotate", "m")
    assert done.returncode == 8
    assert done.stdout.splitlines()[1].split() == ["m:latest", "*", "100", "unreadable", "-", "-", "-", "unreadable"]
