"""history and rollback: what a ref named, who moved it, and the way back."""

from __future__ import annotations

import json
import re

import pytest

from cas.bucket import Kind
from cas.formats.digest import named, short
from cas.host import whoami
from cas.store.layout import manifest_key
from tests.refs.conftest import Desk

PREFIX = "refs/tags/m/latest"


def written(desk: Desk, name: str, number: int) -> None:
    """Write an entry of a log under a chosen name."""
    entry = {"manifest": named(desk.versions[number]), "created": "2026-11-23T03:00:00Z", "by": "x", "reason": "y"}
    desk.store.bucket.put(f"{PREFIX}/{name}", json.dumps(entry).encode(), Kind.DOCUMENT)


def test_the_history_is_newest_first_and_marks_what_is_in_force(desk: Desk) -> None:
    desk.done("untag", "m:latest", "--by", "ana", "--reason", "was wrong")
    desk.done("tag", desk.exact(0), "latest", "--by", "bo")
    short = [digest[:12] for digest in desk.versions]
    header, *rows = desk.done("history", "m").splitlines()
    assert header.split() == ["ENTRY", "WHEN", "VERSION", "BY", "REASON"]
    assert [re.sub(r"2026-\S+Z|20\d\d-\S+Z", "T", row).split() for row in rows] == [
        ["*", "5", "T", short[0], "bo", "tag"],
        ["4", "T", "removed", "ana", "was", "wrong"],
        ["3", "T", short[2], whoami(), "publish"],
        ["2", "T", short[1], whoami(), "publish"],
        ["1", "T", short[0], whoami(), "publish"],
    ]
    assert desk.done("history", "m:latest") == desk.done("history", "m")


def test_times_are_the_stores(desk: Desk) -> None:
    written(desk, f"00000004-{'0' * 16}.json", 0)
    newest, *older = desk.json("history", "m")
    at = desk.log("m").history(1)[0].at
    assert newest == {
        "entry": 4,
        "name": f"00000004-{'0' * 16}.json",
        "at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "manifest": named(desk.versions[0]),
        "removed": False,
        "created": "2026-11-23T03:00:00Z",
        "by": "x",
        "program": None,
        "reason": "y",
        "in_force": True,
        "lost": False,
        "error": None,
        "problem": None,
        "claimed": None,
        "signers": [],
        "verified": False,
    }
    assert newest["at"] != newest["created"]
    assert [(one["entry"], one["in_force"]) for one in older] == [(3, False), (2, False), (1, False)]


def test_pins_have_a_history(desk: Desk) -> None:
    desk.done("pin", "eu", desk.exact(0))
    desk.done("unpin", "eu")
    newest, oldest = desk.json("history", "pin:eu/m")
    assert (newest["manifest"], newest["removed"], newest["reason"]) == (None, True, "unpin")
    assert (oldest["manifest"], oldest["removed"], oldest["reason"]) == (named(desk.versions[0]), False, "pin")


def test_entries_that_cannot_be_read_are_shown_and_passed_over(desk: Desk) -> None:
    for number in (4, 6):
        desk.store.bucket.put(f"{PREFIX}/0000000{number}-{'0' * 16}.json", b"<html>", Kind.DOCUMENT)
    written(desk, f"00000005-{'0' * 16}.json", 0)
    rows = desk.done("history", "m").splitlines()[1:]
    assert ["unreadable" in row for row in rows] == [True, False, True, False, False, False]
    assert "is malformed" in rows[0]
    first, second, third = desk.json("history", "m")[:3]
    assert (first["manifest"], first["by"], first["removed"], first["in_force"]) == (None, "", False, True)
    assert "is malformed" in first["error"]
    assert (second["error"], third["created"]) == (None, None)
    desk.refused(5, "show", "m")
    for number in (0, 2, 1, 0):
        desk.done("rollback", "m")
        assert desk.names("m") == desk.versions[number]
    desk.refused(2, "rollback", "m")


def test_a_move_that_lost_to_another_of_its_number_is_not_on_the_way_back(desk: Desk) -> None:
    written(desk, f"00000004-{'0' * 16}.json", 1)
    written(desk, f"00000004-{'f' * 16}.json", 0)
    shown = desk.json("history", "m")
    assert [(one["entry"], one["lost"], one["in_force"]) for one in shown[:3]] == [
        (4, False, True),
        (4, True, False),
        (3, False, False),
    ]
    assert f"{desk.versions[1][:12]} (lost)" in desk.done("history", "m").splitlines()[2]
    # The log is 0, 1, 2, 0. If the lost move counted, 0 would be two steps back from 2, and the end of the way.
    desk.done("rollback", "m")
    assert desk.names("m") == desk.versions[2]


def test_rollbacks_walk_back_and_end_at_the_first_version(desk: Desk) -> None:
    first, second, third = desk.versions
    assert desk.done("rollback", "m") == f"m:latest -> {short(desk.exact(1))} (was {third[:12]})\n"
    assert desk.json("rollback", "m:latest", "--by", "ana", "--reason", "worse") == {
        "ref": "m:latest",
        "before": named(second),
        "reference": desk.exact(0),
        "moved": True,
        "store": desk.url,
    }
    entries = [(move.entry.digest, move.entry.by, move.entry.reason) for move in desk.log("m").history(2)]
    assert entries == [(second, whoami(), f"rollback from {third[:12]}"), (first, "ana", "worse")]
    line = desk.refused(2, "rollback", "m")
    assert f"m:latest is at {first[:12]}, the first version in its history" in line
    assert desk.names("m") == first


def test_what_was_published_after_a_rollback_goes_back_past_what_was_rolled_back(desk: Desk) -> None:
    desk.done("tag", desk.exact(0), "t")
    desk.done("tag", desk.exact(1), "t")
    desk.done("rollback", "m:t")
    desk.done("tag", desk.exact(2), "t")
    desk.done("rollback", "m:t")
    assert desk.names("m:t") == desk.versions[0]


def test_a_removed_ref_is_put_back(desk: Desk) -> None:
    desk.done("pin", "eu", desk.exact(0))
    desk.done("unpin", "eu")
    desk.done("untag", "m:latest")
    assert desk.done("rollback", "pin:eu/m") == f"pin:eu/m -> {short(desk.exact(0))} (was nothing)\n"
    assert (desk.json("rollback", "m")["before"], desk.names("m")) == (None, desk.versions[2])
    desk.done("rollback", "m")
    assert desk.names("m") == desk.versions[1]
    assert "the first version" in desk.refused(2, "rollback", "pin:eu/m")


def test_back_to_a_version_that_is_named(desk: Desk) -> None:
    desk.done("tag", desk.exact(0), "good")
    assert desk.done("rollback", "m", "--to", "m:good").startswith(f"m:latest -> {short(desk.exact(0))} (was ")
    assert desk.done("rollback", "m", "--to", "m:good") == f"m:latest -> {short(desk.exact(0))} (as before)\n"
    assert desk.json("rollback", "m", "--to", f"m@{desk.versions[0][:8]}")["moved"] is False
    assert len(desk.log("m").names()) == 4
    desk.done("rollback", "m", "--to", f"m@{desk.versions[1][:8]}", "--reason", "best")
    entry = desk.log("m").current()
    assert entry is not None
    assert (entry.digest, entry.reason) == (desk.versions[1], "best")


def test_back_to_a_version_that_it_never_named_is_refused(desk: Desk) -> None:
    desk.done("tag", desk.exact(0), "t")
    desk.done("pin", "eu", desk.exact(0))
    to = f"m@{desk.versions[2][:8]}"
    assert f"move it there with `cas tag {to} t`" in desk.refused(2, "rollback", "m:t", "--to", to)
    assert f"move it there with `cas pin eu {to}`" in desk.refused(2, "rollback", "pin:eu/m", "--to", to)
    assert "is of another model than m:t" in desk.refused(2, "rollback", "m:t", "--to", "other")
    assert "its tags are latest, t" in desk.refused(3, "rollback", "m:t", "--to", "m:none")
    assert desk.names("m:t") == desk.names("pin:eu/m") == desk.versions[0]


def test_a_version_that_a_collector_swept_is_not_gone_back_to(desk: Desk) -> None:
    desk.store.bucket.delete(manifest_key("m", desk.versions[1]))
    for words in ([], ["--to", f"m@{desk.versions[1][:8]}"], ["--to", desk.exact(1)]):
        line = desk.refused(3, "rollback", "m", *words)
        assert f"{desk.exact(1)}, which m:latest would go back to, is not in {desk.url} any more" in line
        assert "swept" in line
    assert desk.names("m") == desk.versions[2]
    desk.done("rollback", "m", "--to", desk.exact(0))
    assert desk.names("m") == desk.versions[0]


@pytest.mark.parametrize(
    ("call", "code", "told"),
    [
        ("history m@00000000", 2, "is one version, which never changes: name a tag"),
        ("rollback m@00000000", 2, "is one version, which never changes: name a tag"),
        ("history m:none", 3, "its tags are latest"),
        ("rollback m:none", 3, "its tags are latest"),
        ("history none", 3, "models are m, other"),
        ("history pin:eu/m", 3, "set it with `cas pin eu m`"),
        ("rollback pin:eu/m", 3, "set it with `cas pin eu m`"),
        ("rollback other", 2, "the first version in its history"),
        ("rollback m --to m@xyz", 2, "8 to 64 hex digits"),
        ("history m --store /nowhere/at/all", 3, "there is no store at /nowhere/at/all"),
    ],
)
def test_a_bad_call_is_one_line_and_an_exit_code(desk: Desk, call: str, code: int, told: str) -> None:
    assert told in desk.refused(code, *call.split())
