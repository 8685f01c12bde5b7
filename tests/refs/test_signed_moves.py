"""Commands that move refs where keys are trusted: signed, or refused before anything is written."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

import cas
from cas.errors import SignatureError, SignerMissing
from cas.refs.history import history
from cas.refs.reflog import Ref, RefLog
from cas.store.store import open_store
from tests.refs.conftest import Desk
from tests.refs.signing import FOREIGN, OURS, replace, signature_keys, signed, variables
from tests.support.flat import flatten
from tests.support.keys import write_keys
from tests.support.models import publish_tree, write_tree
from tests.support.safetensors import Tensor, normal, safetensors

LATEST = Ref("tags", "m", "latest")


@pytest.fixture
def ready(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A store all of whose refs are signed, in an environment that trusts OURS and has no key to sign with."""
    desk.done("pin", "eu", "m")
    for name, value in variables(tmp_path / "keys", signs=False).items():
        monkeypatch.setenv(name, value)
    desk.done("sign", "--all", "--sign-with", ours(tmp_path))
    desk.done("sign", desk.exact(1), "--tag", "latest", "--sign-with", ours(tmp_path))
    return desk


def ours(tmp_path: Path) -> str:
    return write_keys(tmp_path / "keys", "ours", OURS)[0]


def intruded(desk: Desk, ref: Ref, number: int) -> None:
    """Append an entry that nobody signed, and that names the first version."""
    first = f"{LATEST.prefix}/{RefLog(desk.store, LATEST).names()[0]}"
    data = bytes(desk.store.bucket.get(first, 9999))
    replace(desk.store, f"{ref.prefix}/{number:08d}-{'0' * 16}.json", data)


def moves(desk: Desk) -> tuple[tuple[str, ...], ...]:
    """Return commands that move a ref."""
    return (
        ("tag", desk.exact(0), "latest"),
        ("tag", desk.exact(0), "new", "newer"),
        ("pin", "eu", desk.exact(0)),
        ("pin", "us", "m"),
        ("rollback", "m"),
        ("rollback", "m", "--to", desk.exact(2)),
        ("untag", "m:latest"),
        ("unpin", "eu"),
    )


def test_without_a_key_nothing_is_moved_nor_written(ready: Desk, tmp_path: Path) -> None:
    before = ready.store.bucket.list("")
    foreign, _ = write_keys(tmp_path / "keys", "foreign", FOREIGN)
    for words in moves(ready):
        line = ready.refused(8, *words)
        assert "cannot be moved without a key to sign with" in line
        assert f"(trusted: {OURS.public.id})" in line
        assert "--sign-with or CAS_SIGNING_KEY" in line
        assert f"the key {FOREIGN.public.id}, which is to sign, is not trusted here" in ready.refused(
            8, *words, "--sign-with", foreign
        )
    assert ready.store.bucket.list("") == before
    # What needs no move needs no key.
    assert ready.done("tag", "m", "latest").endswith("(as before)\n")


def test_with_the_key_every_move_is_signed(ready: Desk, tmp_path: Path) -> None:
    before = len(signature_keys(ready.store))
    for words in moves(ready):
        ready.done(*words, "--sign-with", ours(tmp_path))
    store = signed(ready.store, signer=None)
    assert len(signature_keys(ready.store)) == before + 9
    for ref in ("m", "m:new", "m:newer", "pin:eu/m", "pin:us/m"):
        last = history(store, ref)[-1]
        assert (last.error, last.move.key_id) == ("", OURS.public.id)


@pytest.mark.parametrize("ref", [LATEST, Ref("pins", "eu", "m")], ids=str)
def test_an_intruders_entry_is_moved_on_from_with_a_warning(ready: Desk, tmp_path: Path, ref: Ref) -> None:
    number = len(RefLog(ready.store, ref).names()) + 1
    before = RefLog(signed(ready.store), ref).current_digest()
    by_hand = ["tag", ready.exact(2), "latest"] if ref == LATEST else ["pin", "eu", ready.exact(1)]
    intruded(ready, ref, number)
    assert f"entry {number} has no signature" in ready.refused(8, "restore", str(ref))
    for expect in ("none", ready.versions[0]):
        line = ready.refused(6, *by_hand, "--expect", expect, "--sign-with", ours(tmp_path))
        assert "something that is unsigned" in line
    done = ready.cas(*by_hand, "--sign-with", ours(tmp_path))
    assert (done.returncode, done.stderr.count("warning: "), f"entry {number} has no signature" in done.stderr) == (
        0,
        1,
        True,
    )
    intruded(ready, ref, number + 2)
    done = ready.cas("rollback", str(ref), "--sign-with", ours(tmp_path))
    assert done.returncode == 0, done.stderr
    # The way back leads past what nobody signed: to what was in force before the intruder came.
    store = signed(ready.store, signer=None)
    assert RefLog(store, ref).current_digest() == ready.versions[2 if ref == LATEST else 1]
    assert [past.problem for past in history(store, str(ref))][-4:] == ["unsigned", "", "unsigned", ""]
    ready.done("rollback", str(ref), "--sign-with", ours(tmp_path))
    assert RefLog(store, ref).current_digest() == before
    line = ready.refused(2, "rollback", str(ref), "--to", ready.exact(0), "--sign-with", ours(tmp_path))
    assert "never named" in line, "a version that only an unsigned entry named is no way back"
    ready.done(
        "untag" if ref == LATEST else "unpin", "m:latest" if ref == LATEST else "eu", "--sign-with", ours(tmp_path)
    )


def test_an_intruders_tag_can_be_removed(ready: Desk, tmp_path: Path) -> None:
    intruded(ready, Ref("tags", "m", "bad"), 1)
    ready.done("untag", "m:bad", "--sign-with", ours(tmp_path))
    assert "was removed" in ready.refused(3, "restore", "m:bad")


def commands_in(line: str) -> list[list[str]]:
    """Return the `cas …` commands that an error tells."""
    return [shlex.split(text)[1:] for text in line.split("`")[1::2] if text.startswith("cas ")]


def test_a_publish_without_a_key_stores_the_version_and_says_how_to_go_on(ready: Desk, tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", {"weights.bin": b"new"})
    words = ("publish", "m", "--dir", str(tree), "--as", "org/model", "--tag", "latest", "--tag", "v4")
    before = ready.store.bucket.list("refs")
    line = ready.cas(*words, "-q").stderr
    assert ready.cas(*words, "-q").returncode == 8
    (command,) = commands_in(line)
    assert command[:1] == ["sign"] and "before a collector's grace period has passed" in line
    assert command[2:] == ["--tag", "latest", "--tag", "v4", "--store", ready.store.url]
    assert ready.store.bucket.list("refs") == before
    ready.done("restore", "-q", command[1])
    ready.done(*command, "--sign-with", ours(tmp_path))
    ready.done("restore", "-q", "m")
    # Now the tags name this content: there is nothing left to move, and a publish needs no key.
    assert ready.done(*words, "-q").strip() == command[1]
    (tree / "weights.bin").write_bytes(b"newer")
    foreign, _ = write_keys(tmp_path / "keys", "foreign", FOREIGN)
    everything = ready.store.bucket.list("")
    assert "not trusted here" in ready.refused(8, *words, "-q", "--sign-with", foreign)
    assert ready.store.bucket.list("") == everything
    ready.done(*words, "-q", "--sign-with", ours(tmp_path))
    ready.done("restore", "-q", "m:v4")


def test_a_publish_with_a_key_that_cannot_be_read_writes_nothing(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAS_SIGNING_KEY", str(tmp_path / "none"))
    tree = write_tree(tmp_path / "tree", {"weights.bin": b"new"})
    before = desk.store.bucket.list("")
    words = ("publish", "m", "--dir", str(tree), "--as", "org/model")
    assert "CAS_SIGNING_KEY: there is no key" in desk.refused(2, *words)
    assert desk.store.bucket.list("") == before


def test_a_publish_builds_on_nothing_that_nobody_signed(ready: Desk, tmp_path: Path) -> None:
    store = signed(open_store(ready.url))
    number = len(RefLog(store, LATEST).names()) + 1
    intruded(ready, LATEST, number)
    warnings: list[object] = []
    tree = write_tree(tmp_path / "tree", {"weights.bin": b"w" * 3000, "number": b"0"})
    done = publish_tree(store, tree, on_event=warnings.append)
    assert done.reference == ready.exact(0), "the content that the intruder's entry names"
    assert done.moved == ("latest",), "an entry that does not count names nothing"
    assert [f"entry {number} has no signature" in str(event) for event in warnings if "signature" in str(event)]
    assert RefLog(store, LATEST).current_digest() == ready.versions[0]


def test_an_import_without_a_key_stores_the_version_and_says_how_to_go_on(ready: Desk, tmp_path: Path) -> None:
    ready.done("restore", "-q", ready.exact(2))
    sync = write_tree(tmp_path / "sync", flatten(ready.cache))
    words = ("import-flat", str(sync), "copy", "-q")
    line = ready.cas(*words).stderr
    (command,) = commands_in(line)
    assert command[2:] == ["--tag", "latest", "--store", ready.store.url]
    assert ready.cas(*words).returncode == 8
    ready.done(*command, "--sign-with", ours(tmp_path))
    ready.done("restore", "-q", "copy")
    ready.done(*words[:-1], "--tag", "new", "-q", "--sign-with", ours(tmp_path))
    ready.done("restore", "-q", "copy:new")


def test_a_derivation_without_a_key_stores_the_variant_and_says_how_to_go_on(ready: Desk, tmp_path: Path) -> None:
    store = signed(open_store(ready.url))
    weights = safetensors({"w": Tensor("F32", (64,), normal(64))})
    publish_tree(store, write_tree(tmp_path / "tree", {"model.safetensors": weights}), "w")
    line = ready.refused(8, "derive", "w", "--cast", "float16", "--tag", "half", "-q")
    assert "w:half not moved there" in line
    (command,) = commands_in(line)
    ready.done(*command, "--sign-with", ours(tmp_path))
    ready.done("restore", "-q", "w:half")
    intruded(ready, Ref("tags", "w", "latest"), 2)
    assert "entry 2 has no signature" in ready.refused(8, "derive", "w", "--cast", "bfloat16", "--tag", "b", "-q")
    store.signer = FOREIGN
    with pytest.raises(SignatureError, match="not trusted here"):
        cas.derive("w@" + command[1].partition("@")[2], store, cast="float16", tags=["x"])
    store.signer = None
    with pytest.raises(SignerMissing, match=r"`cas pin us m@blake3:"):
        _move_pin_as_an_operation(ready)


def _move_pin_as_an_operation(ready: Desk) -> None:
    """Move a pin as a copy does, without a key."""
    from cas.refs.move import MoveOn, move
    from cas.store.leases import LazyLease

    store = signed(ready.store, signer=None)
    with LazyLease(store, "test", print) as lease:
        rule = MoveOn({}, lease)
        move(store, {Ref("pins", "us", "m"): None}, ready.versions[0], "copy", meanwhile=rule)
