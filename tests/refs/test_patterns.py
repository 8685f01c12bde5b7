"""Patterns of names where lists are asked for, and forms of names that move and remove refs."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas.formats.digest import short
from tests.refs.conftest import Desk
from tests.refs.signing import variables
from tests.support.in_process import call_cas
from tests.support.models import write_tree


@pytest.fixture
def fleet(desk: Desk) -> Desk:
    """The store of `desk`, whose model m has tags and pins in several regions."""
    first, second, _ = (digest[:12] for digest in desk.versions)
    for command in (
        f"tag {first} v1 old",
        f"tag {second} v2",
        f"pin eu-a {first}",
        f"pin eu-b {second}",
        "pin us other",
    ):
        desk.done(*command.split())
    return desk


def listed(desk: Desk, *words: str) -> list[tuple[str, str]]:
    return sorted((version["model"], version["digest"][-64:]) for version in desk.json(*words))


def test_lists_take_patterns(fleet: Desk) -> None:
    first, second, third = (("m", digest) for digest in fleet.versions)
    (other,) = listed(fleet, "ls", "other")
    every = sorted([first, second, third])
    for pattern, wanted in (
        ("m*", every),
        ("*", sorted([*every, other])),
        ("[a-n]", every),
        ("*:latest", sorted([third, other])),
        ("m:v?", sorted([first, second])),
        ("pin:eu-*", sorted([first, second])),
        ("pin:*/other", [other]),
    ):
        assert listed(fleet, "ls", pattern) == wanted, pattern
        used = fleet.json("du", pattern)
        assert sorted((one["model"], one["digest"][-64:]) for one in used["versions"]) == wanted, pattern
    trees = fleet.json("tree", "*")
    assert [tree["model"] for tree in trees] == ["m", "other"]
    assert [len(tree["versions"]) for tree in fleet.json("tree", "m:v1")] == [3]  # the tree in which it stands


def test_pins_take_patterns_and_their_own_names(fleet: Desk) -> None:
    for text, wanted in (
        ("eu-*", ["eu-a", "eu-b"]),
        ("*/other", ["us"]),
        ("pin:eu-*/m", ["eu-a", "eu-b"]),
        ("pin:eu-a/m", ["eu-a"]),
        ("pin:us", ["us"]),
    ):
        assert [pin["deployment"] for pin in fleet.json("pins", text)] == wanted, text
    assert "no pin in" in fleet.refused(3, "pins", "asia-*")


def test_copies_take_patterns(fleet: Desk, tmp_path: Path) -> None:
    copied = fleet.json("copy", "m:v*", "pin:us*", str(tmp_path / "copy"))
    assert sorted(copied["moved"]) == ["m:v1", "m:v2", "pin:us/other"]
    exported = fleet.json("export", "*:latest", "-o", str(tmp_path / "all.tar"))
    assert sorted(exported["refs"]) == ["m:latest", "other:latest"]
    mirrored = fleet.json("mirror", "oth*", str(tmp_path / "mirror"))
    assert sorted(mirrored["moved"]) == ["other:latest", "pin:us/other"]
    for words in (("copy", "x*", str(tmp_path / "copy")), ("ls", "x*"), ("du", "m:x*"), ("ls", "pin:x*")):
        assert "x*" in fleet.refused(3, *words)


@pytest.mark.parametrize(
    "call", ["untag m:v*", "unpin eu-*", "pin eu-* m", "tag m:v* new", "history m:v*", "rollback m:*"]
)
def test_what_moves_or_removes_takes_names_alone(fleet: Desk, call: str) -> None:
    assert "is a pattern, and" in fleet.refused(2, *call.split())
    assert len(fleet.json("pins")) == 3


def test_a_tag_may_be_written_with_its_model(fleet: Desk) -> None:
    assert fleet.done("tag", "m:v1", "m:prod").startswith(f"m:prod -> {short(fleet.exact(0))}")
    fleet.done("tag", "m:v2", ":prod", "prod2")
    assert fleet.names("m:prod") == fleet.names("m:prod2") == fleet.versions[1]
    line = fleet.refused(2, "tag", "m:v1", "new", "other:prod")
    assert "other:prod is a tag of other, and the version is of m" in line
    assert "write m:prod, or publish the files as other" in line
    assert fleet.names("m:new") is None
    assert "set it with `cas pin DEPLOYMENT REF`" in fleet.refused(2, "tag", "m", "pin:eu-a/m")
    assert "is a version, and not a tag" in fleet.refused(2, "tag", "m", f"m:x@{fleet.versions[0][:8]}")


def test_an_option_takes_a_tag_with_its_model_too(fleet: Desk, tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", {"x": b"x"})
    words = ("publish", "m", "--dir", str(tree), "--as", "org/model", "--tag", "m:fp16")
    assert fleet.json(*words)["moved"] == ["fp16"]
    assert "other:x is a tag of other" in fleet.refused(2, *words[:-1], "other:x")
    line = fleet.refused(2, "publish", "m:fp16", *words[2:-2])
    assert "m:fp16 is a tag, and what is published is a model: write `cas publish m --tag fp16`" in line


def test_a_pin_may_be_written_as_it_is_printed(fleet: Desk) -> None:
    fleet.done("pin", "pin:eu-a/m", "m:v2")
    assert fleet.names("pin:eu-a/m") == fleet.versions[1]
    assert "write pin:eu-a/other" in fleet.refused(2, "pin", "pin:eu-a/m", "other")
    fleet.done("unpin", "pin:eu-a/m")
    fleet.done("unpin", "eu-b/m")
    assert "name one of them" in fleet.refused(2, "unpin", "pin:us/other", "m")
    fleet.done("unpin", "pin:us")
    assert fleet.json("pins") == []


def test_what_is_expected_may_be_written_as_it_is_printed(fleet: Desk) -> None:
    for expected in (fleet.exact(0), f"blake3:{fleet.versions[0][:12]}", f"m@{fleet.versions[0][:12]}"):
        fleet.done("tag", "m:v1", "old", "--expect", expected)
    for text in (fleet.exact(0), fleet.versions[0][:12], f"blake3:{fleet.versions[0][:12]}"):
        assert fleet.json("gc", "--explain", text)["name"] == fleet.exact(0)


def test_a_rollback_from_an_entry_that_does_not_count_says_so(fleet: Desk, tmp_path: Path) -> None:
    env = {"CAS_STORE": fleet.url, **variables(tmp_path)}
    assert call_cas("tag", "m:v1@" + fleet.versions[0], "prod", env=env).returncode == 8  # m:v1 is not signed
    done = call_cas("tag", fleet.exact(0), "prod", env=env)
    assert done.returncode == 0, done.stderr
    fleet.done("tag", "m", "prod")  # by somebody without a key
    done = call_cas("rollback", "m:prod", env=env)
    assert (done.returncode, done.stdout) == (0, f"m:prod -> {short(fleet.exact(0))} (was entry 2 (unsigned))\n")
