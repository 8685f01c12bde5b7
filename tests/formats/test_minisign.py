"""Keys and signatures are minisign's: they are read, written and refused as the real program does."""

from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cas.errors import CasError, FormatError, InputError, SignatureError, UntrustedKey
from cas.formats import minisign, minisign_lines
from cas.formats.minisign import (
    PublicKey,
    Signed,
    is_secret_key,
    new_key,
    parse_public_key,
    parse_secret_key,
    parse_signature,
    verify,
)
from tests.support.keys import (
    KEY_ID,
    LEGACY,
    MESSAGE,
    PUBLIC,
    SECRET,
    SIGNATURE,
    covered_key,
    key,
    run_minisign,
    write_keys,
)

KEYS = {KEY_ID: parse_public_key(PUBLIC, "x.pub")}
LINES = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=200)


def test_minisigns_own_files_are_read() -> None:
    assert KEYS[KEY_ID].id == KEY_ID
    assert KEYS[KEY_ID].text() == PUBLIC
    assert verify(MESSAGE, SIGNATURE, KEYS) == Signed(KEY_ID, "a trusted comment")
    assert verify(MESSAGE, LEGACY, KEYS) == Signed(KEY_ID, "legacy one")
    assert verify(MESSAGE, SIGNATURE.replace("\n", "\r\n").encode(), KEYS).key_id == KEY_ID
    assert parse_secret_key(SECRET, "x.key", None).public == KEYS[KEY_ID]
    assert parse_public_key(KEYS[KEY_ID].line(), "a variable") == KEYS[KEY_ID]


def test_the_real_minisign_reads_what_we_write_and_writes_what_we_read(tmp_path: Path) -> None:
    secret = key(5)
    own, public = write_keys(tmp_path, "k", secret)
    message, signature = tmp_path / "m", tmp_path / "m.minisig"
    message.write_bytes(MESSAGE)
    signature.write_text(secret.sign(MESSAGE, "ours: for you, ünïcode"))
    done = run_minisign("-V", "-p", public, "-m", str(message))
    assert (done.returncode, "Trusted comment: ours: for you, ünïcode" in done.stdout) == (0, True), done.stderr
    assert run_minisign("-V", "-P", secret.public.line(), "-m", str(message)).returncode == 0
    assert run_minisign("-V", "-P", key(8).public.line(), "-m", str(message)).returncode != 0
    (tmp_path / "p.key").write_text(covered_key())
    for file, typed in ((own, ""), (str(tmp_path / "p.key"), "pässword\n")):
        for kind in ("-H", "-l"):
            signature.unlink(missing_ok=True)
            done = run_minisign("-S", kind, "-s", file, "-m", str(message), "-t", "by the real one", typed=typed)
            assert done.returncode == 0, done.stderr
            found = verify(MESSAGE, signature.read_text(), {secret.public.id: secret.public})
            assert found == Signed(secret.public.id, "by the real one")


@given(message=st.binary(max_size=300), comment=LINES)
def test_what_is_signed_verifies_and_nothing_else_does(message: bytes, comment: str) -> None:
    secret = key(1)
    text = secret.sign(message, comment)
    assert verify(message, text, {secret.public.id: secret.public}) == Signed(secret.public.id, comment)
    with pytest.raises(SignatureError, match="does not match: what it signed was altered"):
        verify(message + b".", text, {secret.public.id: secret.public})
    with pytest.raises(UntrustedKey, match=f"by key {secret.public.id}, which is not trusted here"):
        verify(message, text, {key(2).public.id: key(2).public})
    with pytest.raises(SignatureError, match="does not match"):  # a key that only claims the id
        verify(message, text, {secret.public.id: PublicKey(secret.public.id, key(2).public.raw)})


def changed(data: bytes, at: int, by: int) -> bytes:
    return data[:at] + bytes([data[at] ^ by]) + data[at + 1 :]


SIGNED = SIGNATURE.encode()
UNTRUSTED = range(len("untrusted comment: "), SIGNED.index(b"\n"))
"""Where the untrusted comment stands: the only bytes of a signature that nothing covers."""


@given(at=st.integers(0, len(SIGNED) - 1).filter(lambda at: at not in UNTRUSTED), by=st.integers(1, 255))
def test_a_changed_byte_of_a_signature_is_refused(at: int, by: int) -> None:
    with pytest.raises((SignatureError, FormatError)):
        verify(MESSAGE, changed(SIGNED, at, by), KEYS)


@given(at=st.integers(0, 211), by=st.integers(1, 255), number=st.sampled_from([0, 9]))
def test_a_changed_byte_of_a_secret_key_is_refused(at: int, by: int, number: int) -> None:
    """But for the key id in a key that minisign itself made without a passphrase: that has no checksum."""
    line = (key(number).text() if number else SECRET).splitlines()[1].encode()
    assert len(line) == 212
    text = changed(line, at, by).decode("latin-1")
    if number or not 72 <= at < 83:
        with pytest.raises(FormatError):
            parse_secret_key(text, "x.key", None)


@given(at=st.integers(0, 55), by=st.integers(1, 255))
def test_a_changed_byte_of_a_public_key_is_refused_or_verifies_nothing(at: int, by: int) -> None:
    text = changed(KEYS[KEY_ID].line().encode(), at, by)
    try:
        found = parse_public_key(text, "x.pub")
    except FormatError:
        return
    with pytest.raises(SignatureError):
        verify(MESSAGE, SIGNATURE, {found.id: found})


@given(st.binary(max_size=400) | LINES.map(str.encode))
def test_other_bytes_are_refused_with_an_error_of_ours(data: bytes) -> None:
    readers = (
        parse_signature,
        lambda text: parse_public_key(text, "x"),
        lambda text: parse_secret_key(text.decode("latin-1"), "x", None),
    )
    for read in readers:
        with pytest.raises(FormatError):
            read(data)


def test_a_passphrase_covers_a_key() -> None:
    text = covered_key()
    assert parse_secret_key(text, "x.key", lambda: "pässword").public == key(5).public
    with pytest.raises(InputError, match=r"x\.key: the passphrase is wrong, or the key was altered"):
        parse_secret_key(text, "x.key", lambda: "password")
    with pytest.raises(InputError, match=r"x\.key has a passphrase: set CAS_SIGNING_PASSPHRASE"):
        parse_secret_key(text, "x.key", None)


def test_a_key_with_a_passphrase_cannot_ask_for_more_work_than_minisigns() -> None:
    raw = minisign_lines.decode_line(covered_key().splitlines()[1], 158, "")
    for operations, memory in ((2**26, 2**31), (2**22, 2**28), (2**22 + 1, 2**27), (0, 0), (2**14, 2**19)):
        numbers = operations.to_bytes(8, "little") + memory.to_bytes(8, "little")
        with pytest.raises(FormatError, match="other work for its passphrase than minisign"):
            parse_secret_key(minisign_lines.encode_line(raw[:38] + numbers + raw[54:]), "x.key", lambda: "x")


def test_a_secret_in_one_line_is_read_too() -> None:
    for text in (
        key(4).text(),
        key(4).text().replace("\n", " "),
        key(4).text().splitlines()[1],
        f"\n{key(4).text()}\n",
    ):
        assert parse_secret_key(text, "x", None).public == key(4).public
        assert is_secret_key(text)
    assert is_secret_key(SECRET.splitlines()[1])
    assert is_secret_key(covered_key().splitlines()[1])
    assert not any(map(is_secret_key, ("", "x.key", "/RWQ/x.key", "~/keys/release key.key")))


def test_base64_has_one_form() -> None:
    line = SIGNATURE.splitlines()[1]
    for other in (line[:-2] + "9=", line + "=", line + " ", " " + line, line[:-1]):
        with pytest.raises((FormatError, SignatureError)):
            verify(MESSAGE, SIGNATURE.replace(line, other), KEYS)


@pytest.mark.parametrize("comment", ["two\nlines", "a\rb", "x" * 8001, "\x1b[2J", "\u2028"])
def test_a_comment_is_one_line(comment: str) -> None:
    with pytest.raises(FormatError, match="one printable line"):
        key().sign(b"", comment)


def test_nothing_shows_a_secret_key() -> None:
    secret = new_key()
    assert secret.public != new_key().public
    assert repr(secret) == f"<secret key {secret.public.id}>"
    for copies in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="not pickled"):
            copies(secret)
    text = secret.text()
    for broken in (text[:-9], text[:150] + ("A" if text[150] != "A" else "B") + text[151:]):
        with pytest.raises(CasError) as error:
            parse_secret_key(broken, "CAS_SIGNING_KEY", None)
        assert not any(word in str(error.value) for word in broken.split() if len(word) > 20)


def test_without_the_library_the_user_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    with pytest.raises(InputError, match=r"cryptography.*pip install 'model-cas\[sign\]'"):
        minisign.verify(MESSAGE, SIGNATURE, KEYS)


def test_a_secret_key_in_the_place_of_a_public_one_is_told_and_not_shown() -> None:
    for secret in (key(9).text(), key(9).text().splitlines()[1]):
        with pytest.raises(
            FormatError, match=r"^keys/release.pub is not .* but a secret one, .*: take it away"
        ) as told:
            parse_public_key(secret, "keys/release.pub")
        assert secret.split()[-1] not in str(told.value)
