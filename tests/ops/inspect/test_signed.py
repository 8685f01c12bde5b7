"""Lists say who signed, verified where keys are trusted; one bad ref hides no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cas.bucket import Kind
from cas.refs.reflog import Ref, RefLog
from cas.store.store import Store
from tests.support.in_process import call_cas
from tests.support.signed_stores import KEY, OTHER, key_files, move, objects_of_refs, trusting, unsigned
from tests.support.transfer import NEXT, filled


@pytest.fixture
def signed(directory_store: Store) -> Store:
    """A store with a tag that is signed, one of another model that is not, and one that somebody moved."""
    move(trusting(directory_store), filled(directory_store), "prod")
    filled(directory_store, NEXT, model="n")
    return directory_store


def shown(store: Store, *words: str, trusted: Path | None = None) -> str:
    """What a command prints, with a key trusted or none."""
    variables = {"CAS_TRUSTED_KEYS": key_files(trusted)["CAS_TRUSTED_KEYS"]} if trusted else {}
    done = call_cas("--store", store.url, *words, env=variables)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_ls_says_who_signed_and_whether_that_is_verified(signed: Store, tmp_path: Path) -> None:
    header, *rows = shown(signed, "ls").splitlines()
    assert header.split("  ")[-1] == "SIGNED BY (?)"
    assert rows[0].endswith(f"latest unsigned; prod {KEY.public.id}")
    assert rows[1].endswith("unsigned")
    header, *rows = shown(signed, "ls", trusted=tmp_path).splitlines()
    assert header.endswith("SIGNED BY")
    assert [row.split()[:2] for row in rows] == [["m", "latest"], ["m", "prod"], ["n", "latest"]]
    assert ["refused: unsigned" in row for row in rows] == [True, False, True]
    assert rows[1].endswith(KEY.public.id)


def test_ls_of_a_store_without_signatures_is_as_before(directory_store: Store) -> None:
    filled(directory_store)
    assert "SIGNED" not in shown(directory_store, "ls") + shown(directory_store, "show", "m")
    assert "SIGNED" not in shown(directory_store, "history", "m")


@pytest.mark.parametrize(
    ("what", "problem"),
    [("stripped", "unsigned"), ("altered", "altered"), ("stranger", "not trusted"), ("moved", "misplaced")],
)
def test_what_is_wrong_with_a_ref_is_told_in_every_list(signed: Store, tmp_path: Path, what: str, problem: str) -> None:
    ((key, text),) = objects_of_refs(signed, ".minisig").items()
    log = RefLog(signed, Ref("tags", "m", "prod"))
    entry = f"{log.ref.prefix}/{log.names()[-1]}"
    if what == "stripped":
        signed.bucket.delete(key)
    elif what == "altered":
        data = bytes(signed.bucket.get(entry, 10_000))
        signed.bucket.put(entry, data.replace(b'"test"', b'"evil"'), Kind.DOCUMENT, overwrite=True)
    elif what == "stranger":
        move(trusting(signed, OTHER, (OTHER,)), log.current_digest(), "prod")
    else:
        move(unsigned(signed), log.current_digest(), "prod")
        new = log.names()[-1].removesuffix(".json")
        signed.bucket.put(key.replace(Path(entry).stem, new), text, Kind.SIGNATURE)
        # The bytes are another entry's: as many digits of their digest stand in the name as of any.
        data = bytes(signed.bucket.get(entry, 10_000))
        signed.bucket.put(f"{log.ref.prefix}/{new}.json", data, Kind.DOCUMENT, overwrite=True)
    listed = json.loads(shown(signed, "ls", "--json", trusted=tmp_path))
    problems = {sign["ref"]: sign["problem"] for version in listed for sign in version["signatures"]}
    assert problems == {"m:prod": problem, "m:latest": "unsigned", "n:latest": "unsigned"}
    assert f"refused: {problem}" in shown(signed, "ls", trusted=tmp_path)
    assert f"refused: {problem}" in shown(signed, "tree", trusted=tmp_path)
    (last, *_) = json.loads(shown(signed, "history", "m:prod", "--json", trusted=tmp_path))
    assert (last["problem"], last["verified"], last["manifest"]) == (problem, False, None)
    assert last["claimed"] is not None
    row = shown(signed, "history", "m:prod", trusted=tmp_path).splitlines()[1]
    assert row.endswith(problem) and "(does not count)" in row


def test_show_says_who_signed(signed: Store, tmp_path: Path) -> None:
    digest = RefLog(signed, Ref("tags", "m", "prod")).current_digest()
    assert f"signed by  latest unsigned; prod {KEY.public.id} (not verified)" in shown(signed, "show", "m:prod")
    verified = shown(signed, "show", f"m@{digest}", trusted=tmp_path)
    assert f"signed by  {KEY.public.id}\n" in verified
    document = json.loads(shown(signed, "show", "m:prod", "--json", trusted=tmp_path))
    assert document["signatures"] == [{"ref": "m:prod", "keys": [KEY.public.id], "verified": True, "problem": None}]
    refused = call_cas("--store", signed.url, "show", "m", env=key_files(tmp_path))
    assert (refused.returncode, "m:latest" in refused.stderr) == (8, True)


def test_history_says_who_signed(signed: Store, tmp_path: Path) -> None:
    move(unsigned(signed), None, "prod")
    header, last, first = shown(signed, "history", "m:prod", trusted=tmp_path).splitlines()
    assert header.endswith("SIGNED BY") and last.endswith("unsigned") and first.endswith(KEY.public.id)
    assert "removed (does not count)" in last
    header, last, first = shown(signed, "history", "m:prod").splitlines()
    assert header.endswith("SIGNED BY (?)") and last.endswith("-") and first.endswith(KEY.public.id)


def test_history_calls_an_entry_that_nobody_signed_or_can_read_no_removal(signed: Store, tmp_path: Path) -> None:
    log = RefLog(signed, Ref("tags", "m", "prod"))
    signed.bucket.put(f"{log.ref.prefix}/00000002-{'f' * 16}.json", b"no entry", Kind.DOCUMENT)
    row = shown(signed, "history", "m:prod", trusted=tmp_path).splitlines()[1]
    assert "unreadable" in row and "removed" not in row and row.endswith("unsigned")


def test_history_shows_an_entry_in_force_below_the_floor_as_none_that_counts(signed: Store, tmp_path: Path) -> None:
    (tmp_path / "trusted").write_text(f"key {KEY.public.line()}\nfloor m:prod 2\n")
    below = {"CAS_TRUSTED_KEYS": str(tmp_path / "trusted")}
    row = call_cas("--store", signed.url, "history", "m:prod", env=below).stdout.splitlines()[1]
    assert "(does not count)" in row and row.endswith("below the floor")
    (last,) = json.loads(call_cas("--store", signed.url, "history", "m:prod", "--json", env=below).stdout)
    assert (last["manifest"], last["claimed"] is None, last["verified"]) == (None, False, False)
