"""`cas keygen` and `cas trust` as a user calls them: what they write, print and refuse, and that no secret is shown."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cas.cli import keygen
from cas.errors import InputError
from cas.formats.minisign import parse_public_key, parse_secret_key
from cas.local.trusted_keys import passphrase
from tests.support.in_process import call_cas
from tests.support.keys import key, write_keys


def told(*words: str, **env: str) -> Any:
    """Call a command with --json, and return its document."""
    done = call_cas(*words, "--json", env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_key_has_two_files_and_its_owner_alone_reads_the_secret_one(tmp_path: Path) -> None:
    done = call_cas("keygen", str(tmp_path / "release"))
    assert done.returncode == 0, done.stderr
    own, public = tmp_path / "release.key", tmp_path / "release.pub"
    assert sorted(tmp_path.glob("*")) == [own, public]
    assert (own.stat().st_mode & 0o777, public.stat().st_mode & 0o444) == (0o600, 0o444)
    found = parse_secret_key(own.read_text(), "", None).public
    assert found == parse_public_key(public.read_text(), "")
    assert done.stdout == f"key {found.id}: keep {own} secret\npublic key {found.line()} in {public}\n"
    assert done.stderr == f"trust it where it counts: cas trust add {public}\n"
    before = own.read_bytes(), public.read_bytes()
    own.rename(tmp_path / "kept")
    again = call_cas("keygen", str(tmp_path / "release"))
    assert (again.returncode, "release.pub is there already, and a key is never replaced" in again.stderr) == (2, True)
    assert ((tmp_path / "kept").read_bytes(), public.read_bytes()) == before
    assert not own.exists()


def test_a_secret_for_ci_goes_to_standard_output_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = call_cas("keygen", "-")
    public = parse_secret_key(done.stdout, "", None).public
    assert f"public key {public.line()}\n" in done.stderr
    assert list(tmp_path.glob("*.*")) == []
    done = call_cas("keygen", "ci", "--stdout")
    assert parse_secret_key(done.stdout, "", None).public == parse_public_key(Path("ci.pub").read_text(), "")
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["ci.pub"]
    document = told("keygen", "-")
    assert parse_secret_key(document["secret_key"], "", None).public.id == document["key_id"]
    assert "secret_key" not in told("keygen", "c2")


def test_a_passphrase_is_asked_for_or_comes_from_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cas.formats.minisign._OPERATIONS", 2**15)  # 4 ms instead of half a second
    nobody = call_cas("keygen", str(tmp_path / "k"), "--passphrase")
    assert (nobody.returncode, "set CAS_SIGNING_PASSPHRASE" in nobody.stderr) == (2, True)
    done = call_cas("keygen", str(tmp_path / "k"), "--passphrase", env={"CAS_SIGNING_PASSPHRASE": "abc"})
    assert done.returncode == 0, done.stderr
    assert parse_secret_key((tmp_path / "k.key").read_text(), "", lambda: "abc").public.id in done.stdout


def test_a_passphrase_that_nobody_types_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("getpass.getpass", end)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    for call in (lambda: passphrase("k.key"), keygen._new_passphrase):
        with pytest.raises(InputError, match="no passphrase was typed"):
            call()


def test_a_key_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    done = call_cas("keygen", str(tmp_path / "none/k"))
    assert (done.returncode, "choose another name" in done.stderr) == (7, True)
    (tmp_path / "k.pub").symlink_to("nowhere/x")
    assert call_cas("keygen", str(tmp_path / "k")).returncode == 2
    assert [path.name for path in tmp_path.glob("k*")] == ["k.pub"]


def test_keys_are_trusted_listed_and_trusted_no_longer(tmp_path: Path) -> None:
    _, public = write_keys(tmp_path / "keys", "release", key(1))
    assert call_cas("trust", "ls").stderr.startswith("cas: ") is False
    assert told("trust", "ls") == {"keys": [], "floors": []}
    assert told("trust", "add", public)["added"] == [key(1).public.id]
    assert told("trust", "add", str(tmp_path / "keys"))["added"] == []
    done = call_cas("trust", "add", key(2).public.line(), "--name", "ci")
    assert done.stdout == f"{key(2).public.id} (ci) is trusted\n"
    done = call_cas("trust", "add", key(2).public.line(), "--name", "robot")
    assert done.stdout == f"{key(2).public.id} (robot) is trusted (as before, under a new name)\n"
    assert call_cas("trust", "add", key(2).public.line(), "--name", "ci").returncode == 0
    assert call_cas("trust", "floor", "m", "42").stdout == "no entry of m:latest below 42 counts\n"
    assert call_cas("trust", "floor", "pin:eu/m", "7").returncode == 0
    listed = told("trust", "ls", CAS_TRUSTED_KEYS=key(3).public.line(), CAS_FLOOR="m:latest=43")
    file = str(tmp_path / "home/.config/model-cas/trusted-keys")
    assert [(each["key_id"], each["name"], each["where"]) for each in listed["keys"]] == [
        (key(3).public.id, "", "CAS_TRUSTED_KEYS"),
        (key(1).public.id, "release", f"{file}:2"),
        (key(2).public.id, "ci", f"{file}:3"),
    ]
    assert listed["floors"] == [
        {"ref": "m:latest", "number": 43, "where": "CAS_FLOOR"},
        {"ref": "pin:eu/m", "number": 7, "where": f"{file}:5"},
    ]
    shown = call_cas("trust", "ls").stdout
    assert all(word in shown for word in (key(1).public.line(), "release", "pin:eu/m", "42"))
    assert call_cas("trust", "rm", "release").stdout == f"{key(1).public.id} is trusted no longer\n"
    last = call_cas("trust", "rm", key(2).public.id[:8].lower())
    assert (last.returncode, "is the last key" in last.stderr) == (2, True)
    for ref in ("m", "pin:eu/m"):
        assert call_cas("trust", "floor", ref, "--remove").returncode == 0
    warning = call_cas("trust", "rm", "ci").stderr
    assert "has no key any more: no key is trusted, and no signature is asked for" in warning
    assert told("trust", "ls") == {"keys": [], "floors": []}


def test_a_key_that_a_variable_names_too_is_still_trusted(tmp_path: Path) -> None:
    _, public = write_keys(tmp_path / "keys", "release", key(1))
    told("trust", "add", public)
    done = call_cas("trust", "rm", "release", env={"CAS_TRUSTED_KEYS": public})
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{key(1).public.id} is no longer in {tmp_path / 'home/.config/model-cas/trusted-keys'}\n"
    assert f"{key(1).public.id} is still trusted: {public} names it, too\n" in done.stderr
    assert "has no key any more: only those that CAS_TRUSTED_KEYS names count" in done.stderr
    told("trust", "add", public)
    assert told("trust", "rm", "release", CAS_TRUSTED_KEYS=public)["still_trusted"] == [key(1).public.id]


def test_the_text_of_a_public_keys_file_is_a_key_and_no_text_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_keys(tmp_path, "somebody", key(1))
    monkeypatch.chdir(tmp_path)
    assert told("trust", "add", key(2).public.text())["added"] == [key(2).public.id]
    for empty in ("", " "):  # a script's variable that is not set: nobody who has a key in this folder is meant
        done = call_cas("trust", "add", empty)
        assert (done.returncode, done.stderr[:17]) == (2, "cas: KEY is empty"), done.stderr
    assert [each["key_id"] for each in told("trust", "ls")["keys"]] == [key(2).public.id]


@pytest.mark.parametrize("command", [("attest", "m"), ("sign", "m"), ("lock", "m", "-o", "f.json")])
def test_a_key_to_sign_with_that_is_empty_is_not_none(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = call_cas(*command, "--sign-with", "", env={"CAS_STORE": str(tmp_path)})
    assert (done.returncode, done.stdout, done.stderr[:27]) == (2, "", "cas: --sign-with is empty: "), done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("add", "none.pub"), "there is nothing at"),
        (("rm", "0011223344556677"), "is no key in"),
        (("floor", "m"), "give a NUMBER, or --remove"),
        (("floor", "m", "1", "--remove"), "give a NUMBER, or --remove"),
        (("floor", "m@12345678", "1"), "name a tag or a pin"),
        (("floor", "m", "3"), "trust a key first"),
        (("floor", "m", "--remove"), "has no floor for m:latest"),
        (("floor", "m", "0"), "0 is not in the range"),
    ],
)
def test_what_trust_refuses(words: tuple[str, ...], says: str) -> None:
    done = call_cas("trust", *words)
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr


def test_a_secret_key_on_the_command_line_is_refused_and_not_shown(tmp_path: Path) -> None:
    secret = key(9).text().splitlines()[1]
    for words in (("trust", "add", secret), ("lock", "m", "-o", "f.json", "--sign-with", secret)):
        done = call_cas(*words, env={"CAS_STORE": str(tmp_path)})
        assert done.returncode == 2, done.stderr
        assert secret not in done.stderr + done.stdout
        assert ("is a secret key, for who signs" in done.stderr) or ("a key itself would be seen" in done.stderr)
