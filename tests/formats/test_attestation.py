"""Statements and bundles: their bytes, checked against the documents that define them."""

from __future__ import annotations

import base64
import hashlib
import json

from cas.formats.attestation import FileDigest, bundle, signed_bytes, statement

A, B, C, D = (hashlib.sha256(letter.encode()).hexdigest() for letter in "abcd")


def test_a_statement_names_every_file_and_the_model_by_all_of_them() -> None:
    made = statement("m", [FileDigest("sub/x", A), FileDigest("sub-y", B), FileDigest("sub/a/z", C)], {"tool": "cas 1"})
    document = json.loads(made.data)
    # pathlib's order, that of components: 'sub' comes before 'sub-y', though '-' comes before '/'.
    assert [file["name"] for file in document["predicate"]["resources"]] == ["sub/a/z", "sub/x", "sub-y"]
    root = hashlib.sha256(b"".join(map(bytes.fromhex, (C, A, B)))).hexdigest()
    assert document["subject"] == [{"name": "m", "digest": {"sha256": root}}]
    assert made.root == root
    assert document["predicate"]["resources"][0] == {"name": "sub/a/z", "algorithm": "sha256", "digest": C}
    assert document["predicate"]["model-cas"] == {"tool": "cas 1", "unchecked": []}


def test_gits_own_files_at_the_top_are_told_apart() -> None:
    files = [FileDigest(path, A) for path in (".gitattributes", ".github/x", "sub/.gitattributes", "w")]
    made = statement("m", files, {})
    assert [file.path for file in made.checked] == ["sub/.gitattributes", "w"]
    unchecked = json.loads(made.data)["predicate"]["model-cas"]["unchecked"]
    assert [file["name"] for file in unchecked] == [".gitattributes", ".github/x"]
    assert {file["digest"] for file in unchecked} == {A}


def test_what_is_signed_is_dsses_own_example() -> None:
    # github.com/secure-systems-lab/dsse, protocol.md: "DSSEv1 29 http://example.com/HelloWorld 11 hello world".
    assert signed_bytes(b"hello world") == b"DSSEv1 28 application/vnd.in-toto+json 11 hello world"


def test_a_bundle_holds_the_statement_and_names_the_key_by_its_hash() -> None:
    document = json.loads(bundle(b"{}", b"signature", b"-----BEGIN PUBLIC KEY-----"))
    envelope = document["dsseEnvelope"]
    assert base64.b64decode(envelope["payload"]) == b"{}"
    assert base64.b64decode(envelope["signatures"][0]["sig"]) == b"signature"
    hint = hashlib.sha256(b"-----BEGIN PUBLIC KEY-----").hexdigest()
    assert document["verificationMaterial"] == {"publicKey": {"hint": hint}, "tlogEntries": []}
