"""minisign's public keys and signatures: Ed25519 over a message, in lines of text that `minisign -V` reads.

Source of the formats: https://jedisct1.github.io/minisign/#signature-format and minisign 0.11's source. A signature
names its key by eight bytes, the *key id*, which minisign prints as 16 upper-case hex digits. `ED` signs the
BLAKE2b-512 of the message, and is what we write; `Ed`, which minisign wrote before 0.10, signs the message itself. A
second signature covers the first and the *trusted comment*. The *untrusted comment* is covered by nothing.

A secret key with a passphrase is covered by what scrypt makes of that, one without by nothing. A checksum tells a wrong
passphrase; minisign writes zeros in its place for a key without one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from cas.errors import FormatError, InputError, SignatureError, UntrustedKey
from cas.formats import minisign_lines as lines

SUFFIX = ".minisig"
"""The ending that minisign gives to a signature's file, behind the whole name of the file that is signed."""

_ED25519, _PREHASHED = b"Ed", b"ED"
_PUBLIC_KEY_LINE = re.compile(r"RW[A-Za-z0-9+/]{54}")

_SCRYPT, _NOTHING, _BLAKE2B = b"Sc", b"\0\0", b"B2"
# Of ours: scrypt with N = 2^17, r = 8, p = 1, which takes 128 MiB (OWASP's Password Storage Cheat Sheet); minisign's
# own keys take 2^25 operations and 1 GiB.
_OPERATIONS = 2**22
_START_OF_SECRET = ("RWRTY0Iy", "RWQAAEIy")  # base64 of EdScB2 and of Ed, two zeros, B2


class PublicKey(NamedTuple):
    """A key that signatures are verified with.

    Attributes:
        id: 16 upper-case hex digits, as minisign prints it.
        raw: the Ed25519 public key, 32 bytes.
    """

    id: str
    raw: bytes

    def line(self) -> str:
        """Return the key as the one line that `minisign -P` takes: 56 characters of base64."""
        return lines.encode_line(_ED25519 + lines.id_bytes(self.id) + self.raw)

    def text(self) -> str:
        """Return the text of the key's file (NAME.pub)."""
        return f"{lines.UNTRUSTED}minisign public key {self.id}\n{self.line()}\n"


class Signature(NamedTuple):
    """The parts of a signature that was read and not verified: whoever wrote it may have put anything there.

    Attributes:
        key_id: of the key that it says it is by, 16 upper-case hex digits.
        comment: the trusted comment.
        prehashed: whether it signs the BLAKE2b-512 of the message instead of the message.
        signature: of the message, 64 bytes.
        comment_signature: of `signature` and the comment, 64 bytes.
    """

    key_id: str
    comment: str
    prehashed: bool
    signature: bytes
    comment_signature: bytes


class Signed(NamedTuple):
    """What a verified signature says.

    Attributes:
        key_id: of the key that it is by, 16 upper-case hex digits.
        comment: its trusted comment, which is signed, too.
    """

    key_id: str
    comment: str


def verify(message: bytes, signature: str | bytes, keys: Mapping[str, PublicKey]) -> Signed:
    """Return who signed a message, and the trusted comment, once both are proven.

    Args:
        message: the bytes that must be signed.
        signature: the text of a `.minisig` file.
        keys: the keys that count, by key id.

    Raises:
        UntrustedKey: the signature is by none of these keys.
        SignatureError: the message, the trusted comment or the signature was altered.
        FormatError: it is no minisign signature.
        InputError: the library of the extra `sign` is not installed.
    """
    found = parse_signature(signature)
    key = keys.get(found.key_id)
    if key is None:
        raise UntrustedKey(found.key_id)
    by = f"the signature by key {found.key_id}"
    if not lines.is_signed(key.raw, found.signature, lines.prehash(message) if found.prehashed else message):
        raise SignatureError(f"{by} does not match: what it signed was altered, or the signature was")
    if not lines.is_signed(key.raw, found.comment_signature, found.signature + found.comment.encode()):
        raise SignatureError(f"{by} does not match its trusted comment: the comment was altered")
    return Signed(found.key_id, found.comment)


def parse_signature(text: str | bytes) -> Signature:
    """Return the parts of a signature, none of them verified.

    Args:
        text: the text of a `.minisig` file: an untrusted comment, the signature, a trusted comment, its signature.

    Raises:
        FormatError: it is no minisign signature.
    """
    what = "the signature"
    found = lines.lines_of(text, what)
    if len(found) != 4 or not found[0].startswith(lines.UNTRUSTED) or not found[2].startswith(lines.TRUSTED):
        raise FormatError(f"{what} is none of minisign's: it has no untrusted and trusted comment with a line each")
    raw = lines.decode_line(found[1], 74, f"{what}: line 2")
    if raw[:2] not in (_ED25519, _PREHASHED):
        raise FormatError(f"{what} is of algorithm {raw[:2].hex()}: this program knows Ed and ED (Ed25519)")
    comment = lines.check_comment(found[2].removeprefix(lines.TRUSTED))
    return Signature(
        lines.id_text(raw[2:10]),
        comment,
        raw[:2] == _PREHASHED,
        raw[10:],
        lines.decode_line(found[3], 64, f"{what}: line 4"),
    )


def parse_public_key(text: str | bytes, where: str) -> PublicKey:
    """Return a public key.

    Args:
        text: the text of a `.pub` file, or its key line alone.
        where: the file or variable, named in errors.

    Raises:
        FormatError: it is no public key of minisign's.
    """
    found = lines.lines_of(text, where)
    if found and found[0].startswith(lines.UNTRUSTED):
        del found[0]
    if found and found[-1].startswith(_START_OF_SECRET):
        raise FormatError(
            f"{where} is not a minisign public key but a secret one, for who signs alone: take it away, and name its "
            "public key (NAME.pub)"
        )
    if len(found) != 1 or not is_public_key_line(found[0]):
        raise FormatError(
            f"{where} is not a minisign public key, which is an untrusted comment and a line of 56 characters RW…: "
            "`cas keygen` and `minisign -G` write one (NAME.pub)"
        )
    raw = lines.decode_line(found[0], 42, where)
    if raw[:2] != _ED25519:
        raise FormatError(f"{where} is a key of algorithm {raw[:2].hex()}: this program knows Ed (Ed25519)")
    return PublicKey(lines.id_text(raw[2:10]), raw[10:])


def is_public_key_line(text: str) -> bool:
    """Return whether a text has the form of a public key's line, and not that of a path."""
    return _PUBLIC_KEY_LINE.fullmatch(text) is not None


class SecretKey:
    """A key that signs. It is shown nowhere: only `text` gives it out.

    Attributes:
        public: the public key of the same id.
    """

    __slots__ = ("_seed", "public")

    def __init__(self, key_id: str, seed: bytes) -> None:
        key = lines.ed25519().Ed25519PrivateKey.from_private_bytes(seed)
        self.public = PublicKey(key_id, key.public_key().public_bytes_raw())
        self._seed = seed

    def __repr__(self) -> str:
        """Return the key's id: no log and no traceback shows more of it."""
        return f"<secret key {self.public.id}>"

    def __reduce__(self) -> str:
        """Refuse to be pickled: the key would lie wherever the pickle goes."""
        raise TypeError("a secret key is not pickled")

    def sign(self, message: bytes, comment: str) -> str:
        """Return the text of a signature (`ED`) of a message.

        Args:
            message: what is signed.
            comment: the trusted comment, one line.

        Raises:
            FormatError: the comment is none.
        """
        key = lines.ed25519().Ed25519PrivateKey.from_private_bytes(self._seed)
        signature: bytes = key.sign(lines.prehash(message))
        over_both: bytes = key.sign(signature + lines.check_comment(comment).encode())
        return (
            f"{lines.UNTRUSTED}signature from key {self.public.id}\n"
            f"{lines.encode_line(_PREHASHED + lines.id_bytes(self.public.id) + signature)}\n"
            f"{lines.TRUSTED}{comment}\n{lines.encode_line(over_both)}\n"
        )

    def text(self, passphrase: str | None = None) -> str:
        """Return the text of the key's file (NAME.key), which is all that it takes to sign.

        Args:
            passphrase: covers the key; None for none.

        Raises:
            InputError: this machine lacks the memory that a passphrase takes, 128 MiB.
        """
        number, secret = lines.id_bytes(self.public.id), self._seed + self.public.raw
        body = number + secret + _checksum(number, secret)
        how = _NOTHING + _BLAKE2B + bytes(48)
        if passphrase is not None:
            salt = os.urandom(32)
            body = lines.cover(body, passphrase, salt, _OPERATIONS, "the new key")
            limits = (_OPERATIONS, 32 * _OPERATIONS)
            how = _SCRYPT + _BLAKE2B + salt + b"".join(limit.to_bytes(8, "little") for limit in limits)
        kind = "encrypted secret key" if passphrase is not None else "secret key"
        return f"{lines.UNTRUSTED}minisign {kind} {self.public.id}\n{lines.encode_line(_ED25519 + how + body)}\n"


def new_key() -> SecretKey:
    """Return a new key, with a random id as minisign gives one."""
    return SecretKey(lines.id_text(os.urandom(8)), os.urandom(32))


def is_secret_key(text: str) -> bool:
    """Return whether a text is that of a secret key, rather than a path: nothing of it may be shown then."""
    words = text.split()
    return bool(words) and (words[0] == lines.UNTRUSTED.split()[0] or words[-1].startswith(_START_OF_SECRET))


def parse_secret_key(text: str, where: str, passphrase: Callable[[], str] | None) -> SecretKey:
    """Return a secret key.

    Args:
        text: the text of a key's file; its line of base64 alone, or with its lines joined by blanks, as some systems
            hand out a secret of several lines.
        where: the file or variable, named in errors.
        passphrase: is called for a key with a passphrase; None where nobody can be asked.

    Raises:
        FormatError: it is no secret key of minisign's, or was altered.
        InputError: the passphrase is wrong or is not known, or the machine lacks the memory that it takes.
    """
    words = text.split()
    try:
        raw = lines.decode_line(words[-1] if words else "", 158, where)
    except FormatError:
        advice = "take the file that `cas keygen` wrote (NAME.key)"
        raise FormatError(f"{where} is not a minisign secret key: {advice}") from None
    algorithm, how, check, salt = raw[:2], raw[2:4], raw[4:6], raw[6:38]
    if algorithm != _ED25519 or check != _BLAKE2B or how not in (_SCRYPT, _NOTHING):
        raise FormatError(f"{where} is a secret key of another kind than this program knows (Ed25519, scrypt, BLAKE2b)")
    operations, memory = (int.from_bytes(raw[start : start + 8], "little") for start in (38, 46))
    body = raw[54:]
    if how == _NOTHING and raw[6:54] != bytes(48):
        raise FormatError(f"{where} is a secret key that was altered: take it from where it came from")
    if how == _SCRYPT:
        # All programs that write this format take such limits (minisign, rsign2, aead.dev/minisign, Zig's): then N is
        # operations / 32, r = 8 and p = 1, by libsodium's `pickparams`.
        if not 2**15 <= operations <= 2**25 or operations.bit_count() != 1 or memory != 32 * operations:
            raise FormatError(f"{where} asks for other work for its passphrase than minisign does: it was altered")
        if passphrase is None:
            raise InputError(f"{where} has a passphrase: set CAS_SIGNING_PASSPHRASE to it")
        body = lines.cover(body, passphrase(), salt, operations, where)
    number, secret, checksum = body[:8], body[8:72], body[72:]
    key = SecretKey(lines.id_text(number), secret[:32])
    is_right = checksum == _checksum(number, secret) or (how == _NOTHING and checksum == bytes(32))
    if is_right and key.public.raw == secret[32:]:
        return key
    if how == _SCRYPT:
        raise InputError(f"{where}: the passphrase is wrong, or the key was altered")
    raise FormatError(f"{where} is a secret key that was altered: take it from where it came from")


def _checksum(number: bytes, secret: bytes) -> bytes:
    from hashlib import blake2b

    return blake2b(_ED25519 + number + secret, digest_size=32).digest()
