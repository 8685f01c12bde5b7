"""tag, untag, pin, pins and unpin: what they move, what they record, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas.bucket import Kind
from cas.errors import NotFoundError
from cas.formats.digest import named, short
from cas.refs.move import move
from cas.refs.reflog import Ref
from cas.store import layout, lease_entries
from cas.store.layout import manifest_key
from tests.refs.conftest import Desk
from tests.support.models import read_tree


def test_a_move_is_recorded_with_who_and_why(desk: Desk) -> None:
    by, why = ["--by", "ana"], ["--reason", "bench was good"]
    assert desk.done("tag", desk.exact(0), "prod", *by, *why) == f"m:prod -> {short(desk.exact(0))}\n"
    assert desk.done("pin", "eu", desk.exact(1), *by, *why) == f"pin:eu/m -> {short(desk.exact(1))}\n"
    for ref, number in (("m:prod", 0), ("pin:eu/m", 1)):
        entry = desk.log(ref).current()
        assert entry is not None
        assert (entry.digest, entry.by, entry.reason) == (desk.versions[number], "ana", "bench was good")


def test_what_names_the_version_already_is_not_moved(desk: Desk) -> None:
    desk.done("pin", "eu", "m")
    before = [entry.key for entry in desk.store.bucket.list("")]
    assert desk.done("pin", "eu", "m") == f"pin:eu/m -> {short(desk.exact(2))} (as before)\n"
    assert desk.done("tag", "m", "latest") == f"m:latest -> {short(desk.exact(2))} (as before)\n"
    assert desk.json("pin", "eu", "m", "--expect", desk.versions[2][:8])["moved"] == []
    assert [entry.key for entry in desk.store.bucket.list("")] == before
    assert desk.json("tag", "m", "latest", "new") == {"reference": desk.exact(2), "moved": ["new"], "store": desk.url}
    assert desk.json("pin", "us", "m") == {"reference": desk.exact(2), "moved": ["pin:us/m"], "store": desk.url}


def test_what_is_expected_must_be_so(desk: Desk) -> None:
    first, _, third = desk.versions
    for expect in (first, first[:8], named(first), "none"):
        line = desk.refused(6, "tag", desk.exact(1), "latest", "--expect", expect)
        expected = expect.replace("none", "nothing")
        assert f"m:latest was moved to {named(third)} (expected: {expected})" in line
    desk.done("tag", desk.exact(1), "latest", "--expect", named(third))
    desk.done("tag", desk.exact(0), "latest", "--expect", desk.versions[1][:8])
    desk.done("tag", desk.exact(0), "new", "--expect", "none")
    assert "(expected: nothing)" in desk.refused(6, "tag", desk.exact(1), "new", "--expect", "none")
    assert "moved to nothing" in desk.refused(6, "pin", "eu", "m", "--expect", first)
    desk.done("pin", "eu", "m", "--expect", "none")
    desk.done("unpin", "eu")
    desk.done("pin", "eu", "m", "--expect", "none")
    for text in ("None", first[:7], "m:latest", ""):
        if text:
            assert "is no version to expect" in desk.refused(2, "tag", "m", "latest", "--expect", text)
    assert "is no version to expect" in desk.refused(2, "tag", "m", "latest", "--expect", "blake3:00")


def test_when_one_tag_is_not_as_expected_none_is_moved(desk: Desk) -> None:
    desk.done("tag", desk.exact(0), "a", "c")
    desk.done("tag", desk.exact(1), "b")
    desk.refused(6, "tag", "m", "a", "b", "c", "--expect", desk.versions[0])
    assert [desk.names(f"m:{tag}") for tag in "abc"] == [desk.versions[number] for number in (0, 1, 0)]


def test_an_entry_that_cannot_be_read_is_never_as_expected(desk: Desk) -> None:
    desk.store.bucket.put(f"refs/tags/m/odd/00000001-{'0' * 16}.json", b"<html>", Kind.DOCUMENT)
    for expect in ("none", desk.versions[0]):
        assert "something that cannot be read" in desk.refused(6, "tag", "m", "odd", "--expect", expect)
    healed = desk.cas("tag", "m", "odd")
    assert (healed.returncode, healed.stderr.count("warning: ")) == (0, 1)
    assert desk.names("m:odd") == desk.versions[2]


def test_a_removed_tag_is_gone_from_view_and_its_version_is_not(desk: Desk) -> None:
    desk.done("tag", desk.exact(0), "a", "b")
    assert desk.json("untag", "m:a", "m:b", "--by", "ana", "--reason", "old") == {
        "removed": ["m:a", "m:b"],
        "store": desk.url,
    }
    for command in ("show", "restore"):
        line = desk.refused(3, command, "m:a")
        assert "m:a was removed from" in line
        assert "by ana (old)" in line
    assert "its tags are latest" in desk.refused(3, "show", "m:c")
    assert [version["tags"] for version in desk.json("ls")] == [["latest"], ["latest"]]
    assert desk.json("show", desk.exact(0))["digest"] == named(desk.versions[0])
    desk.done("tag", "m", "a")
    assert desk.names("m:a") == desk.versions[2]


def test_what_cannot_be_removed_is_said_and_nothing_is(desk: Desk) -> None:
    desk.done("tag", "m", "a")
    desk.done("pin", "eu", "m")
    for text, code, told in (
        ("m", 2, "name the tag to remove, as in m:latest"),
        (desk.exact(0), 2, "is a version, not a tag"),
        ("pin:eu/m", 2, "remove it with `cas unpin eu m`"),
        ("m:none", 3, "its tags are a, latest"),
        ("none:latest", 3, "models are m, other"),
        ("m:a/b", 2, "is not a name"),
    ):
        assert told in desk.refused(code, "untag", "m:a", text)
    assert desk.names("m:a") == desk.versions[2]
    desk.done("untag", "m:a")
    desk.refused(3, "untag", "m:a")


def test_what_cannot_be_read_can_be_removed(desk: Desk) -> None:
    for ref in ("tags/m/odd", "pins/eu/m"):
        desk.store.bucket.put(f"refs/{ref}/00000001-{'0' * 16}.json", b"<html>", Kind.DOCUMENT)
    (row,) = desk.done("pins").splitlines()[1:]
    assert "unreadable" in row
    assert desk.cas("untag", "m:odd").returncode == desk.cas("unpin", "eu").returncode == 0
    assert desk.names("m:odd") is desk.names("pin:eu/m") is None


def test_pins_are_a_table(desk: Desk) -> None:
    empty = desk.cas("pins")
    assert (empty.returncode, empty.stdout) == (0, "")
    assert "has no pins: pin a version with `cas pin DEPLOYMENT REF`" in empty.stderr
    assert desk.json("pins") == []
    desk.done("tag", "m", "prod")
    for deployment, ref in (("us", desk.exact(0)), ("eu", "other"), ("eu", "m")):
        desk.done("pin", deployment, ref, "--by", "ana", "--reason", "quarter end")
    header, *rows = desk.done("pins").splitlines()
    assert header.split() == ["DEPLOYMENT", "MODEL", "VERSION", "TAGS", "SINCE", "BY", "REASON"]
    assert [row.split()[:2] for row in rows] == [["eu", "m"], ["eu", "other"], ["us", "m"]]
    assert f"{desk.versions[2][:12]}  latest, prod  " in rows[0]
    assert f"{desk.versions[0][:12]}  -  " in rows[2]
    assert rows[0].endswith("ana  quarter end")
    (pin,) = desk.json("pins", "us")
    since = desk.log("pin:us/m").history()[-1].at
    assert pin == {
        "deployment": "us",
        "model": "m",
        "digest": named(desk.versions[0]),
        "tags": [],
        "since": f"{since:%Y-%m-%dT%H:%M:%SZ}",
        "by": "ana",
        "reason": "quarter end",
    }
    assert "deployments with pins are eu, us" in desk.refused(3, "pins", "asia")


def test_the_model_may_be_left_out_when_there_is_one(desk: Desk) -> None:
    desk.done("pin", "eu", "m")
    desk.done("pin", "eu", "other")
    assert "eu has pins of m, other: say which" in desk.refused(2, "unpin", "eu")
    assert "eu has pins of m, other" in desk.refused(3, "unpin", "eu", "third")
    desk.done("unpin", "eu", "m")
    desk.refused(3, "unpin", "eu", "m")
    assert desk.json("unpin", "eu") == {"removed": ["pin:eu/other"], "store": desk.url}
    assert "cas pin eu" in desk.refused(3, "unpin", "eu")
    assert desk.names("pin:eu/m") is desk.names("pin:eu/other") is None


@pytest.mark.parametrize(
    ("call", "code", "told"),
    [
        ("pin eu none", 3, "the store's models are m, other"),
        ("pin eu m@00000000", 3, "see `cas ls m`"),
        ("pin eu m@blake3:" + "0" * 64, 3, "see `cas ls m`"),
        ("pin eu/west m", 2, "eu/west is a pin of west, and m is a version of m: write pin:eu/m"),
        ("pin eu", 2, "Missing argument"),
        ("pin eu pin:us/m", 3, "set it with `cas pin us m`"),
        ("unpin eu", 3, "no deployment has; pin a version with `cas pin eu MODEL`"),
        ("pins eu --store /nowhere/at/all", 3, "there is no store at /nowhere/at/all"),
        ("untag m:latest --store /nowhere/at/all", 3, "there is no store at /nowhere/at/all"),
    ],
)
def test_a_bad_call_is_one_line_and_an_exit_code(desk: Desk, call: str, code: int, told: str) -> None:
    assert told in desk.refused(code, *call.split())


def test_a_pin_decides_what_the_next_restore_restores(desk: Desk) -> None:
    def restored() -> bytes:
        return read_tree(Path(desk.done("-q", "restore", "pin:eu/m").strip()))["number"]

    desk.done("pin", "eu", desk.exact(0))
    assert restored() == b"0"
    desk.done("pin", "eu", "m")
    assert restored() == b"2"
    desk.done("rollback", "pin:eu/m")
    assert restored() == b"0"
    desk.done("unpin", "eu")
    desk.refused(3, "-q", "restore", "pin:eu/m")
    desk.done("rollback", "pin:eu/m")
    assert restored() == b"0"


def test_every_move_is_made_under_a_lease(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    store, put = desk.store, type(desk.store.bucket).put
    written: list[str] = []

    def recording(bucket: object, key: str, *rest: object, **options: object) -> bool:
        written.append(key.partition("/")[0])
        return put(bucket, key, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(type(store.bucket), "put", recording)
    for digest in (desk.versions[0], None):
        written.clear()
        move(store, {Ref("tags", "m", "latest"): None}, digest, "test")
        assert written == ["leases", "refs", "leases"]
    now = max(entry.modified for entry in store.bucket.list(layout.LEASES))
    assert lease_entries.active_leases(store, store.bucket.list(layout.LEASES), lambda: now) == []


def test_a_version_that_went_meanwhile_is_not_named(desk: Desk) -> None:
    desk.store.bucket.delete(manifest_key("m", desk.versions[0]))
    with pytest.raises(NotFoundError, match=desk.versions[0]):
        move(desk.store, {Ref("tags", "m", "latest"): None}, desk.versions[0], "test")
    assert desk.names("m") == desk.versions[2]
