"""A statement about the files of a version, in the form that OpenSSF model-signing verifies with a key, offline.

    statement   in-toto Statement v1 with the predicate of model-signing: the sha256 of every file
    envelope    DSSE: the statement's bytes and a signature of them
    bundle      Sigstore's bundle v0.3: the envelope, and the sha256 of the public key that verifies it

`model_signing verify key DIR --signature BUNDLE --public_key KEY` hashes the files of DIR and compares. Sources:
github.com/in-toto/attestation (spec/v1), github.com/secure-systems-lab/dsse (protocol.md), docs.sigstore.dev
(about/bundle), and model_signing/_signing/signing.py of the package model-signing 1.1.1.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"

OURS = "model-cas"
"""The field of the predicate that says where the files come from. Verifiers of version 1.0 ignore fields that they do
not know (`Payload` in model_signing/_signing/signing.py)."""

GIT_PATHS = (".git", ".gitattributes", ".github", ".gitignore")
"""What model-signing leaves out at the top of a model unless it is told otherwise; a model may lack it."""

_IGNORED = (".cas", *GIT_PATHS)  # .cas: the record of restores in a folder that one filled


class FileDigest(NamedTuple):
    """One file of a model.

    Attributes:
        path: below the folder of the model, with slashes.
        sha256: of its bytes, 64 hex.
    """

    path: str
    sha256: str


class Statement(NamedTuple):
    """A statement, and what it says of the model as a whole.

    Attributes:
        data: the statement's JSON, which is what is signed.
        root: the sha256 (64 hex) of all files' digests, by which the statement names the model.
        checked: the files that a verifier hashes and compares, in order.
        unchecked: those that a verifier leaves out: git's own at the top. The statement tells their digests, too.
    """

    data: bytes
    root: str
    checked: tuple[FileDigest, ...]
    unchecked: tuple[FileDigest, ...]


def statement(name: str, files: Iterable[FileDigest], facts: Mapping[str, object]) -> Statement:
    """Return the statement about a model.

    Args:
        name: what the statement calls the model; verifiers do not compare it.
        files: every file of the model, in any order.
        facts: where the files come from; goes into the field OURS as it is.
    """
    # As pathlib orders paths: by their components. The root is the hash of the digests in this order.
    ordered = sorted(files, key=lambda file: file.path.split("/"))
    checked = tuple(file for file in ordered if not _is_ignored(file))
    unchecked = tuple(file for file in ordered if _is_ignored(file))
    root = hashlib.sha256(b"".join(bytes.fromhex(file.sha256) for file in checked)).hexdigest()
    document = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": root}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": True,  # a snapshot of a hub cache consists of links
                "ignore_paths": list(_IGNORED),
            },
            "resources": _resources(checked),
            OURS: {**facts, "unchecked": _resources(unchecked)},
        },
    }
    return Statement(json.dumps(document, indent=2).encode(), root, checked, unchecked)


def signed_bytes(payload: bytes) -> bytes:
    """Return what a signature of a statement signs: DSSE's pre-authentication encoding of its type and its bytes."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def bundle(payload: bytes, signature: bytes, public_key: bytes) -> bytes:
    """Return the JSON of a bundle.

    Args:
        payload: the statement's JSON.
        signature: of `signed_bytes(payload)`; ECDSA, in ASN.1 (DER).
        public_key: in PEM. The bundle names it by its sha256, and does not hold it.
    """
    document = {
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {
            "publicKey": {"hint": hashlib.sha256(public_key).hexdigest()},
            "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return json.dumps(document).encode()


def _is_ignored(file: FileDigest) -> bool:
    return file.path.split("/")[0] in _IGNORED


def _resources(files: Iterable[FileDigest]) -> list[dict[str, str]]:
    return [{"name": file.path, "algorithm": "sha256", "digest": file.sha256} for file in files]
