"""Whose signatures count: what variables and files say, and that no mistake in them means that nothing is checked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cas.errors import CacheError, CasError, FormatError, InputError
from cas.local.key_files import UserTrust
from cas.local.trusted_keys import (
    Trust,
    configured_signer,
    configured_trust,
    parse_trusted_keys,
    read_keys,
    trusted_keys_file,
)
from tests.support.keys import covered_key, key, write_keys

A, B, C = (key(number).public for number in (1, 2, 3))


def user_file(text: str) -> Path:
    """Write the user's file of trusted keys."""
    file = trusted_keys_file()
    assert file is not None
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_where_no_key_is_named_nothing_is_trusted_and_nothing_signs() -> None:
    assert configured_trust() is None
    assert configured_signer() is None


def test_keys_come_from_files_folders_lines_and_the_users_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, public = write_keys(tmp_path, "release", key(1))
    write_keys(tmp_path / "folder", "ci", key(2))
    monkeypatch.setenv("CAS_TRUSTED_KEYS", f" {public},{tmp_path / 'folder'}\n{C.line()} ")
    file = user_file(f"# a comment\n\nkey {A.line()} ann of release\n  key\t{key(4).public.line()}\n")
    found = configured_trust()
    assert found is not None
    assert found.keys == {each.id: each for each in (A, B, C, key(4).public)}
    assert found.names == {A.id: "release", B.id: "ci"}
    assert found.where == {
        A.id: public,
        B.id: str(tmp_path / "folder/ci.pub"),
        C.id: "CAS_TRUSTED_KEYS",
        key(4).public.id: f"{file}:4",
    }
    assert found.called(A.id) == f"{A.id} (release)"
    assert found.called(C.id) == C.id


def test_a_variable_may_hold_a_public_keys_whole_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAS_TRUSTED_KEYS", A.text() + B.text())
    found = configured_trust()
    assert found is not None
    assert list(found.keys) == [A.id, B.id]


def test_the_highest_floor_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "trusted"
    other.write_text(f"key {A.line()}\nfloor m:latest 9\nfloor pin:eu/m 1\n")
    monkeypatch.setenv("CAS_TRUSTED_KEYS", str(other))
    monkeypatch.setenv("CAS_FLOOR", "m:latest=4, pin:eu/m=7")
    file = user_file("floor m:latest 12\nfloor m:latest 3\n")
    found = configured_trust()
    assert found is not None
    assert found.floors == {"m:latest": 12, "pin:eu/m": 7}
    assert (found.where["m:latest"], found.where["pin:eu/m"]) == (f"{file}:1", "CAS_FLOOR")


@pytest.mark.parametrize("value", ["", " ", ",", " ,\n"])
@pytest.mark.parametrize("name", ["CAS_TRUSTED_KEYS", "CAS_FLOOR", "CAS_SIGNING_KEY"])
def test_an_empty_variable_is_an_error(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=name):
        (configured_signer if name == "CAS_SIGNING_KEY" else configured_trust)()


def test_what_names_no_key_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, public = write_keys(tmp_path / "one", "k", key(1))
    (tmp_path / "empty").mkdir()
    (tmp_path / "floors").write_text("floor m:latest 1\n")
    (tmp_path / "nothing.pub").write_text("")
    os.mkfifo(tmp_path / "pipe.pub")
    refused: dict[str, tuple[type[CasError], str]] = {
        str(tmp_path / "none.pub"): (InputError, "there is nothing at"),
        f"{public}/x": (InputError, "there is nothing at"),
        str(tmp_path / "empty"): (InputError, r"has no public key \(\*\.pub\), so that nobody would be trusted"),
        str(tmp_path / "floors"): (InputError, "names no key"),
        str(tmp_path / "nothing.pub"): (FormatError, "is not a minisign public key"),
        str(tmp_path / "pipe.pub"): (InputError, "is not a file"),
        own: (FormatError, "is not a minisign public key"),
        f"/{'a' * 300}": (CacheError, "File name too long"),
        f"{A.line()[:-1]}": (InputError, "there is nothing at"),
    }
    for value, (error, words) in refused.items():
        for given_value in (value, f"{public} {value}", f"{value},{public}"):
            monkeypatch.setenv("CAS_TRUSTED_KEYS", given_value)
            with pytest.raises(error, match=words):
                configured_trust()


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, public = write_keys(tmp_path, "k", key(1))

    def refuse(path: object, *args: object, **options: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setenv("CAS_TRUSTED_KEYS", public)
    monkeypatch.setattr("cas.local.fs.os.open", refuse)  # the tests may run as root, who may read all
    with pytest.raises(CacheError, match=r"k\.pub cannot be read \(Permission denied\)"):
        configured_trust()


def test_a_floor_without_a_key_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAS_FLOOR", "m:latest=4")
    with pytest.raises(InputError, match="CAS_FLOOR sets a floor for m:latest, and no key is trusted"):
        configured_trust()
    monkeypatch.delenv("CAS_FLOOR")
    user_file("floor m:latest 4\n")
    with pytest.raises(InputError, match="trusted-keys:1 sets a floor for m:latest"):
        configured_trust()


@pytest.mark.parametrize(
    "value", ["m:latest", "m=4", "m:latest=", "m:latest=0", "m:latest=-1", "m:latest=4.5", "m@12345678=1", "pin:eu=1"]
)
def test_a_floor_that_is_none_is_an_error(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAS_TRUSTED_KEYS", A.line())
    monkeypatch.setenv("CAS_FLOOR", value)
    with pytest.raises(InputError, match=r"CAS_FLOOR: .* is no floor"):
        configured_trust()


@pytest.mark.parametrize(
    "line",
    [
        "key",
        "key RWQ",
        f"keys {A.line()}",
        A.line(),
        f"key {A.line()[:-1]}",
        "floor m:latest",
        "floor m:latest 1 2",
        "floor m:latest x",
        "floor m 1",
        "trust all",
        "untrusted comment: x",
    ],
)
def test_a_line_that_says_nothing_is_an_error_with_its_number(line: str) -> None:
    with pytest.raises(FormatError, match="file:3"):
        parse_trusted_keys(f"key {B.line()}\n# comment\n{line}\n", "file")


TEXT = f"key {A.line()}\nfloor m:latest 42\n"


@given(at=st.integers(0, len(TEXT) - 1), by=st.integers(1, 127))
def test_a_changed_byte_is_refused_or_trusts_nobody_else(at: int, by: int) -> None:
    """A changed key is refused, or is one that nobody has the secret of. A # makes a comment of a line."""
    text = TEXT[:at] + chr(ord(TEXT[at]) ^ by) + TEXT[at + 1 :]
    try:
        trusted = list(parse_trusted_keys(text, "file").keys.values())
    except FormatError:
        return
    if 4 <= at < TEXT.index("\n"):
        assert A not in trusted
    else:
        assert trusted in ([A], [])


def test_two_keys_of_one_id_are_an_error(tmp_path: Path) -> None:
    false = A._replace(raw=B.raw)
    with pytest.raises(
        InputError, match=f"file:1 and file:1 are two keys|file:2 and file:1 are two keys of one id, {A.id}"
    ):
        parse_trusted_keys(f"key {A.line()}\nkey {false.line()}\n", "file")
    trust = Trust()
    trust.add_key(A, "", "here")
    trust.add_key(A, "", "there")
    assert trust.where == {A.id: "here"}


def test_a_folder_gives_its_public_keys_alone(tmp_path: Path) -> None:
    write_keys(tmp_path, "a", key(1))
    write_keys(tmp_path, "b", key(2))
    (tmp_path / "README").write_text("key")
    assert list(read_keys(str(tmp_path), "x").keys) == [A.id, B.id]


def test_the_signer_is_a_path_or_the_key_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, public = write_keys(tmp_path, "k", key(5))
    for value in (own, key(5).text(), key(5).text().replace("\n", " "), key(5).text().splitlines()[1]):
        monkeypatch.setenv("CAS_SIGNING_KEY", value)
        signer = configured_signer()
        assert signer is not None
        assert signer.public == key(5).public
    for value, error in ((public, FormatError), (f"{own}x", InputError), (str(tmp_path), InputError)):
        monkeypatch.setenv("CAS_SIGNING_KEY", value)
        with pytest.raises(error):
            configured_signer()


@pytest.mark.parametrize("cut", [slice(0, -6), slice(60, None), slice(60, -5), slice(100, 180)])
def test_a_mangled_secret_key_is_not_shown(cut: slice, monkeypatch: pytest.MonkeyPatch) -> None:
    value = f'"{key(5).text()}'[cut]
    monkeypatch.setenv("CAS_SIGNING_KEY", value)
    with pytest.raises(CasError) as error:
        configured_signer()
    assert not any(word in str(error.value) for word in value.split() if len(word) > 20)


def test_a_signer_with_a_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "k.key").write_text(covered_key())
    monkeypatch.setenv("CAS_SIGNING_KEY", str(tmp_path / "k.key"))
    with pytest.raises(InputError, match=r"k\.key has a passphrase: set CAS_SIGNING_PASSPHRASE"):
        configured_signer()
    monkeypatch.setenv("CAS_SIGNING_PASSPHRASE", "pässword\n")
    signer = configured_signer()
    assert signer is not None
    assert signer.public == key(5).public


def test_the_users_file_keeps_what_a_person_wrote() -> None:
    user = UserTrust()
    assert user.add_keys([(A, "ann"), (B, "")]) == [A, B]
    user.path.write_text(f"{user.path.read_text()}# mine\nfloor  x:latest 3")
    user = UserTrust()
    assert user.add_keys([(A, "other"), (C, "c")]) == [C]
    user.set_floor("m:latest", 5)
    user.set_floor("m:latest", 4)
    user.set_floor("x:latest", None)
    user.remove_key(B.id)
    assert user.path.read_text().split("\n", 1)[1] == (
        f"key {A.line()} ann\n# mine\nkey {C.line()} c\nfloor m:latest 4\n"
    )
    assert user.trust.floors == {"m:latest": 4}
    assert user.path.parent.stat().st_mode & 0o022 == 0
    user.remove_key(A.id)
    with pytest.raises(InputError, match="is the last key in"):
        user.remove_key(C.id)
    with pytest.raises(InputError, match="no name for a key"):
        user.add_keys([(B, "x\nfloor m:latest 1")])


def test_a_malformed_file_of_the_users_is_an_error_and_not_nobody() -> None:
    user_file("keys\n")
    with pytest.raises(FormatError, match="trusted-keys:1 is no line of trusted keys"):
        configured_trust()
