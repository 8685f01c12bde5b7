"""What minisign's files are made of: lines of base64, comments, key ids, what a passphrase covers; and Ed25519."""

from __future__ import annotations

import binascii
import re
from typing import Any

from cas.errors import FormatError, InputError

MAX_TEXT = 16 * 1024
"""The most bytes that a file of minisign's may have: its comments have up to 1 and 8 KiB."""

UNTRUSTED = "untrusted comment: "
TRUSTED = "trusted comment: "

_MAX_COMMENT = 8000
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


def prehash(message: bytes) -> bytes:
    """Return the BLAKE2b-512 of a message, 64 bytes: what `ED` signs."""
    from hashlib import blake2b

    return blake2b(message).digest()


def id_text(raw: bytes) -> str:
    """Return a key id as minisign prints it: the eight bytes as one little-endian number, 16 upper-case hex digits."""
    return raw[::-1].hex().upper()


def id_bytes(key_id: str) -> bytes:
    """Return the eight bytes of a key id."""
    return bytes.fromhex(key_id)[::-1]


def check_comment(comment: str) -> str:
    """Return a comment that fits into one line of a signature; raises FormatError for any other."""
    if _UNPRINTABLE.search(comment) or len(comment.encode()) > _MAX_COMMENT:
        raise FormatError(f"the comment of a signature is one printable line of at most {_MAX_COMMENT} bytes")
    return comment


def encode_line(raw: bytes) -> str:
    """Return bytes as base64 without a line end."""
    return binascii.b2a_base64(raw, newline=False).decode()


def decode_line(text: str, size: int, where: str) -> bytes:
    """Return the bytes of a line of base64.

    Args:
        text: the line.
        size: how many bytes it must have.
        where: what the line is, named in errors.

    Raises:
        FormatError: it is not the base64 of so many bytes, written as base64 is always written.
    """
    try:
        raw = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (ValueError, UnicodeEncodeError):
        raw = b""
    # The last character may have bits that count for nothing: with those set, one signature would have several texts.
    if len(raw) != size or encode_line(raw) != text:
        raise FormatError(f"{where} is not {size} bytes in base64: it was altered or cut")
    return raw


def ed25519() -> Any:
    """Return the module of the library that knows Ed25519: the one place that imports it.

    Raises:
        InputError: it is not installed.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519 as module
    except ImportError as error:
        raise InputError(
            f"signatures take the package cryptography, which cannot be imported ({error}): "
            "pip install 'model-cas[sign]'"
        ) from None
    return module


def is_signed(key: bytes, signature: bytes, message: bytes) -> bool:
    """Return whether a signature is that of a message.

    Args:
        key: the Ed25519 public key, 32 bytes.
        signature: 64 bytes.
        message: the bytes that must be signed.
    """
    module = ed25519()
    from cryptography.exceptions import InvalidSignature

    try:
        module.Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def lines_of(text: str | bytes, where: str) -> list[str]:
    """Return the lines of a small text file; they may end as on Windows.

    Args:
        text: what stands in the file.
        where: its name in errors.

    Raises:
        FormatError: it is too large, or no UTF-8.
    """
    if len(text) > MAX_TEXT:
        raise FormatError(f"{where} is over the limit of {MAX_TEXT} bytes: minisign did not write it")
    try:
        decoded = text.decode() if isinstance(text, bytes) else text.encode().decode()
    except ValueError:
        raise FormatError(f"{where} is not UTF-8: it was altered, or is another file") from None
    return decoded.replace("\r\n", "\n").removesuffix("\n").split("\n")


def cover(body: bytes, passphrase: str, salt: bytes, operations: int, where: str) -> bytes:
    """Return the end of a secret key covered by what a passphrase gives, or uncovered by the same.

    Args:
        body: 104 bytes: key id, secret and checksum.
        passphrase: what a person typed.
        salt: 32 bytes.
        operations: the work that it takes, as libsodium counts it: N of scrypt is this by 32, r is 8 and p 1.
        where: the key's name in errors.

    Raises:
        InputError: the memory that it takes cannot be had.
    """
    from hashlib import scrypt

    n = operations // 32
    memory = 128 * 8 * n
    try:
        stream = scrypt(passphrase.encode(), salt=salt, n=n, r=8, p=1, maxmem=memory + 2**20, dklen=len(body))
    except UnicodeEncodeError:
        raise InputError(f"{where}: the passphrase is not UTF-8") from None
    except (ValueError, MemoryError):
        raise InputError(
            f"{where}: its passphrase takes {memory >> 20} MiB of memory, which cannot be had here"
        ) from None
    return bytes(left ^ right for left, right in zip(body, stream, strict=True))
