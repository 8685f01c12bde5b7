"""Lock files with a signature: minisign checks it, and so does whoever restores where keys are trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

import cas
from cas.errors import FormatError, SignatureError
from cas.formats.minisign import verify
from tests.support.keys import key, run_minisign, write_keys
from tests.support.two_versions import Boot


@pytest.fixture
def signed(boot: Boot, tmp_path: Path) -> Path:
    """A lock file of the new version, signed by key 1."""
    own, _ = write_keys(tmp_path / "keys", "k", key(1))
    file = tmp_path / "signed/m.json"
    told = boot.json("lock", "m", "-o", str(file), "--sign-with", own)
    assert told["signature_file"] == f"{file}.minisig"
    assert told["key_id"] == key(1).public.id
    return file


def test_minisign_and_we_verify_it(signed: Path, boot: Boot) -> None:
    text = Path(f"{signed}.minisig").read_text()
    found = verify(signed.read_bytes(), text, {key(1).public.id: key(1).public})
    assert found.comment == f"lock file m.json: {boot.new}"
    done = run_minisign("-V", "-P", key(1).public.line(), "-m", str(signed))
    assert (done.returncode, found.comment in done.stdout) == (0, True), done.stderr


def test_where_keys_are_trusted_its_signature_must_be_by_one(
    signed: Path, boot: Boot, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cas.read_lock(signed).exact == boot.new  # no key is trusted: nothing is asked
    monkeypatch.setenv("CAS_TRUSTED_KEYS", key(1).public.line())
    assert cas.read_lock(signed).exact == boot.new
    assert cas.read_lock(boot.lock).exact == boot.old  # a lock file without a signature needs none
    monkeypatch.setenv("CAS_TRUSTED_KEYS", key(2).public.line())
    with pytest.raises(
        SignatureError, match=rf"m\.json is signed by key {key(1).public.id}, which is not trusted here"
    ):
        cas.read_lock(signed)
    done = boot.cas("restore", "--lock", str(signed), CAS_TRUSTED_KEYS=key(2).public.line())
    assert (done.returncode, done.stdout) == (8, "")
    assert boot.cas("restore", "--lock", str(signed), CAS_TRUSTED_KEYS=key(1).public.line()).returncode == 0


def test_a_signature_of_another_file_is_refused(signed: Path, boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAS_TRUSTED_KEYS", key(1).public.line())
    beside = Path(f"{boot.lock}.minisig")
    beside.write_bytes(Path(f"{signed}.minisig").read_bytes())
    with pytest.raises(SignatureError, match=r"is not what m\.json\.minisig signs .* was altered"):
        cas.read_lock(boot.lock)
    beside.write_bytes(b"")
    with pytest.raises(SignatureError, match=r"is not what m\.json\.minisig signs"):
        cas.read_lock(boot.lock)


def test_a_lock_that_is_written_anew_without_a_key_loses_the_old_signature(signed: Path, boot: Boot) -> None:
    beside = Path(f"{signed}.minisig")
    boot.json("lock", "m", "-o", str(signed))
    assert beside.exists()  # it is the same file
    boot.json("lock", "m:v1", "-o", str(signed))
    assert not beside.exists()


def test_what_cannot_sign_writes_nothing(boot: Boot, tmp_path: Path) -> None:
    file = tmp_path / "new.json"
    own, public = write_keys(tmp_path / "keys", "k", key(1))
    for words, env, code in (
        (["--sign-with", public], {}, FormatError.exit_code),
        (["--sign-with", f"{own}.none"], {}, 2),
        (["--sign-with", own], {"CAS_TRUSTED_KEYS": key(2).public.line()}, 8),
        ([], {"CAS_SIGNING_KEY": public}, FormatError.exit_code),
    ):
        done = boot.cas("lock", boot.new, "-o", str(file), *words, **env)
        assert done.returncode == code, done.stderr
        assert not file.exists()
    boot.json("lock", "m", "-o", str(file))
    assert boot.cas("lock", "m", "-o", str(file), CAS_SIGNING_KEY=key(3).text()).returncode == 0
    assert key(3).public.id in Path(f"{file}.minisig").read_text()
