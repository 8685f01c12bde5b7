"""Foreign bytes as what signatures are made of: a signature, keys, and a trusted-keys file."""

from __future__ import annotations

from collections.abc import Iterator

from cas.errors import SignatureError
from cas.formats import minisign
from cas.formats.minisign import SecretKey
from cas.local.trusted_keys import parse_trusted_keys
from tools.fuzz import refusals

_MESSAGE = b"hello\n"
_COMMENT = "store: s3://b/prod entry: refs/tags/m/latest/00000001-0123456789abcdef.json"


def _key() -> SecretKey:
    return SecretKey("0123456789ABCDEF", bytes(range(32)))


def read(data: bytes) -> None:
    """Read the bytes as each kind. What verifies is what the key signed, to the last byte of its comment."""
    key = _key()
    refusals.read_all(
        (
            lambda: _verify(data, key),
            lambda: minisign.parse_public_key(data, "k.pub"),
            lambda: minisign.parse_secret_key(data.decode("latin-1"), "k.key", None),
            lambda: parse_trusted_keys(data.decode("latin-1"), "trusted-keys"),
        )
    )


def _verify(data: bytes, key: SecretKey) -> None:
    try:
        signed = minisign.verify(_MESSAGE, data, {key.public.id: key.public})
    except SignatureError:
        return
    assert signed.comment == _COMMENT, "a comment that nobody signed is trusted"


def seeds() -> Iterator[tuple[str, str, bytes]]:
    """Yield target, name and bytes of each seed."""
    key = _key()
    signature, public = key.sign(_MESSAGE, _COMMENT), key.public.text()
    for name, text in {
        "signature": signature,
        "windows": signature.replace("\n", "\r\n"),
        "cut": signature[:100],
        "public": public,
        "line": key.public.line(),
        "secret": key.text(),
        "trusted-keys": f"# ours\nkey {key.public.line()} ann\nfloor m:latest 42\nfloor pin:eu/m 7\n",
    }.items():
        yield "signature", name, text.encode()
