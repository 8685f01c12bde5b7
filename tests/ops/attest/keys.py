"""Keys of the kinds that people may name for a statement."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
PASSPHRASE = "correct horse"


def pem(key: PrivateKeyTypes, passphrase: str | None = None) -> bytes:
    """Return a private key in PEM (PKCS 8), covered by a passphrase if one is given."""
    covered = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, covered)


def write_pair(folder: Path, curve: str = "P-256", passphrase: str | None = None) -> tuple[Path, Path]:
    """Write a new key pair; return the paths of the private and of the public key."""
    key = ec.generate_private_key(CURVES[curve])
    private, public = folder / f"{curve}.pem", folder / f"{curve}.pub"
    private.write_bytes(pem(key, passphrase))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def other_kinds() -> dict[str, bytes]:
    """Return private keys that model-signing does not verify, by their kind."""
    return {
        "Ed25519": pem(ed25519.Ed25519PrivateKey.generate()),
        "RSA": pem(rsa.generate_private_key(65537, 2048)),
        "secp256k1": pem(ec.generate_private_key(ec.SECP256K1())),
    }
