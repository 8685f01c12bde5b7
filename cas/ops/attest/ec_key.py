"""The key of a statement: an elliptic curve key in PEM, as model-signing takes it.

model-signing 1.1.1 verifies ECDSA on three curves of NIST, and no Ed25519 (`_check_supported_ec_key` in
model_signing/_signing/sign_ec_key.py). So a statement has another kind of key than the entries of refs. Only this
module imports `cryptography`, which the extra `sign` installs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cas import config
from cas.errors import CacheError, FormatError, InputError
from cas.local.fs import FileTooLarge, NotAFile, read_bounded

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_HASHES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}
"""The hash that goes with each curve, by the names in `cryptography` (`get_ec_key_hash` in the same file)."""

_MAX_KEY = 64 * 1024  # bytes
_PEM = "-----BEGIN "
_MAKE = "openssl ecparam -name prime256v1 -genkey -noout -out attest.pem"

Passphrase = Callable[[], str]
"""Returns the passphrase of a key, from whoever knows it."""


class EcKey:
    """A private key that signs statements.

    Attributes:
        public: the public key, in PEM.
    """

    def __init__(self, key: EllipticCurvePrivateKey) -> None:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        self._key = key
        self.public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, data: bytes) -> bytes:
        """Return the ECDSA signature of some bytes, in ASN.1 (DER)."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        algorithm: hashes.HashAlgorithm = getattr(hashes, _HASHES[self._key.curve.name])()
        signature: bytes = self._key.sign(data, ec.ECDSA(algorithm))
        return signature


def is_key(text: str) -> bool:
    """Return whether a text is that of a key, rather than a path."""
    return text.lstrip().startswith(_PEM)


def read_key(path: str, option: str, passphrase: Passphrase) -> EcKey:
    """Return the key in a file.

    Args:
        path: of the file.
        option: what named it, such as `--sign-with`, for errors.
        passphrase: is asked for a key that has one.

    Raises:
        InputError: there is no such file, or as from `parse_key`.
        FormatError: as from `parse_key`.
        CacheError: the file cannot be read.
    """
    if is_key(path):
        raise InputError(f"{option} takes the path of a key's file: a key itself would be seen in lists of processes")
    # A variable may hold a key in a form that is not known as one: what it holds is shown only when it is a file.
    shown = path if option.startswith("--") else "the path that it holds, if it is one"
    try:
        file = config.expand_user(path)
        data = read_bounded(file, _MAX_KEY)
    except FileNotFoundError:
        raise InputError(f"{option}: there is no key at {shown}: make one with `{_MAKE}`") from None
    except (NotAFile, FileTooLarge):
        raise InputError(f"{option}: {shown} is no key: name a file in PEM") from None
    except OSError as error:
        raise CacheError(f"{option}: {shown} cannot be read ({error.strerror}): check its owner and mode") from None
    return parse_key(data, str(file), passphrase)


def parse_key(data: bytes, where: str, passphrase: Passphrase) -> EcKey:
    """Return the key that some bytes are.

    Args:
        data: the key in PEM.
        where: the file or variable, for errors.
        passphrase: is asked for a key that has one.

    Raises:
        InputError: it is no private key on one of the three curves, or `cryptography` is not installed.
        FormatError: its passphrase is wrong, or it is damaged.
    """
    if _PEM.encode() not in data:
        kind = "a key of `cas keygen`, which signs refs" if data.startswith(b"untrusted comment:") else "no key in PEM"
        raise InputError(
            f"{where} is {kind}: model-signing verifies ECDSA on P-256, P-384 or P-521; make such a key with `{_MAKE}`"
        )
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as error:
        raise InputError(
            f"statements are signed with the package cryptography, which cannot be imported ({error}): "
            "pip install 'model-cas[sign]'"
        ) from None
    try:
        key = _loaded(load_pem_private_key, data, passphrase)
    except (ValueError, UnsupportedAlgorithm):
        # What the library says may quote the file.
        raise FormatError(f"{where} cannot be read: its passphrase is wrong, or it is no private key in PEM") from None
    if not isinstance(key, EllipticCurvePrivateKey) or key.curve.name not in _HASHES:
        raise InputError(
            f"{where} is a key of another kind than model-signing verifies: make one on P-256 with `{_MAKE}`"
        )
    return EcKey(key)


def _loaded(load: Callable[[bytes, bytes | None], object], data: bytes, passphrase: Passphrase) -> object:
    try:
        return load(data, None)
    except TypeError:  # by this the library says that the key is encrypted
        return load(data, passphrase().encode())


def key_named(path: str | None) -> Callable[[], EcKey] | None:
    """Return what reads the key that a caller or CAS_ATTEST_KEY names; None when neither does.

    Args:
        path: the key's file, as a caller names it; None for that of CAS_ATTEST_KEY, which may hold the key itself.

    Raises:
        InputError: CAS_ATTEST_KEY is set and empty, as a CI system leaves it without its secret.
    """
    named = path or config.read("CAS_ATTEST_KEY")
    if not named:
        if config.is_set("CAS_ATTEST_KEY"):
            raise InputError("CAS_ATTEST_KEY is set and empty: set it to a key or the path of one, or unset it")
        return None
    from cas.local.trusted_keys import passphrase

    if path is None and is_key(named):
        return lambda: parse_key(named.encode(), "CAS_ATTEST_KEY", lambda: passphrase("CAS_ATTEST_KEY"))
    return lambda: read_key(named, "--sign-with" if path else "CAS_ATTEST_KEY", lambda: passphrase(named))
