"""What a statement says, which bytes it is made of, and which keys sign it."""

from __future__ import annotations

import base64
import hashlib
import json
import traceback
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from cas import events
from cas.errors import CasError, ChunkMissing, FormatError, InputError, IntegrityError
from cas.formats.attestation import signed_bytes
from cas.formats.manifest import Manifest
from cas.host import Limits
from cas.local.hf_cache import git_sha1
from cas.ops.attest.attester import Attested, attest
from cas.ops.attest.ec_key import parse_key, read_key
from cas.ops.attest.hashes import sha256s
from cas.refs.reference import Reference, log_of
from cas.store.layout import chunk_key
from cas.store.store import Store
from tests.formats.test_golden import CASES, expected
from tests.ops.attest.keys import CURVES, PASSPHRASE, other_kinds, write_pair
from tests.support.in_process import call_cas
from tests.support.models import KIB, REPO, noise, put_model

FILES = {"config.json": b"{}", "weights/w.bin": noise(200 * KIB), "empty": b"", ".gitattributes": b"* text\n"}


def unasked() -> str:
    pytest.fail("the key has no passphrase")


def predicate(done: Attested) -> dict[str, Any]:
    """Return the predicate of a statement, or of that in a bundle."""
    document = json.loads(done.data)
    if done.is_signed:
        document = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
    found: dict[str, Any] = document["predicate"]
    return found


def tagged(store: Store, changed: Manifest) -> None:
    """Store another manifest, and tag it."""
    log_of(store, Reference("m", tag="latest")).append(store.put_manifest(changed), reason="test")


def test_a_statement_tells_every_file_and_where_it_comes_from(store: Store) -> None:
    put_model(store, {REPO: FILES}, tag="v1")
    phases: list[events.Event] = []
    done = attest("m:v1", store, on_event=phases.append)
    told = predicate(done)
    digests = {file["name"]: file["digest"] for file in (*told["resources"], *told["model-cas"]["unchecked"])}
    assert digests == {path: hashlib.sha256(data).hexdigest() for path, data in FILES.items()}
    assert [file["name"] for file in told["model-cas"]["unchecked"]] == [".gitattributes"]
    ours = told["model-cas"]
    assert (ours["reference"], ours["derived"], ours["annotations"]) == (done.reference, None, {})
    assert [(repo["repo_id"], repo["repo_type"], repo["commit"]) for repo in ours["repos"]] == [
        (REPO, "model", "c" * 40)
    ]
    assert (ours["release"]["ref"], ours["release"]["entry"], ours["release"]["reason"]) == ("m:v1", 1, "test")
    assert ours["tool"].startswith("cas ")
    moved = sum(event.plain for event in phases if isinstance(event, events.Moved))
    assert moved == sum(map(len, FILES.values()))
    assert attest(done.reference, store).release is None


def test_each_content_is_read_once_and_its_names_are_proven(directory_store: Store) -> None:
    small = b"small"
    made = put_model(directory_store, {REPO: {"a": small, "b": small}, "org/other": {"a": small}})
    repo = made.repos[1]
    named = msgspec.structs.replace(repo, files=(msgspec.structs.replace(repo.files[0], blob=git_sha1(small)),))
    tagged(directory_store, msgspec.structs.replace(made, repos=(made.repos[0], named)))
    seen: list[events.Event] = []
    done = attest("m", directory_store, layout="{repo}/{path}", on_event=seen.append)
    assert done.files == 3
    assert [event.plain for event in seen if isinstance(event, events.Moved)] == [len(small)]
    forged = msgspec.structs.replace(repo, files=(msgspec.structs.replace(repo.files[0], blob="f" * 40),))
    tagged(directory_store, msgspec.structs.replace(made, repos=(made.repos[0], forged)))
    with pytest.raises(IntegrityError, match="is named ffff"):
        attest("m", directory_store, layout="{repo}/{path}")


@pytest.mark.parametrize("digits", [40, 64])
def test_a_file_that_is_not_what_the_manifest_names_is_not_attested(directory_store: Store, digits: int) -> None:
    made = put_model(directory_store, {REPO: {"a": b"one", "b": b"two"}})
    repo = made.repos[0]
    forged = msgspec.structs.replace(repo.files[1], blob="f" * digits)
    tagged(
        directory_store,
        msgspec.structs.replace(made, repos=(msgspec.structs.replace(repo, files=(repo.files[0], forged)),)),
    )
    with pytest.raises(
        IntegrityError, match=rf"file 'b' is named f{{{digits}}} in the manifest, and its bytes hash to"
    ):
        attest("m", directory_store)


def test_a_lost_chunk_ends_it(directory_store: Store) -> None:
    made = put_model(directory_store, {REPO: FILES})
    directory_store.bucket.delete(chunk_key(list(made.chunks())[-1]))
    with pytest.raises(ChunkMissing):
        attest("m", directory_store)


def test_memory_for_one_chunk_is_enough(directory_store: Store) -> None:
    made = put_model(directory_store, {REPO: FILES})
    limits = Limits(budget=1, requests=1, workers=1)
    assert sorted(sha256s(directory_store, made, limits, events.ignore).values()) == sorted(
        hashlib.sha256(data).hexdigest() for data in FILES.values()
    )


def test_paths_are_those_of_the_folder_that_is_verified(directory_store: Store) -> None:
    put_model(directory_store, {REPO: {"x/w": b"1"}, "org/b": {"x/w": b"2"}}, {"torch/t": b"3"})
    with pytest.raises(InputError, match=r"'x/w' would be two files that differ.*--layout '\{repo\}/\{path\}'"):
        attest("m", directory_store)
    told = predicate(attest("m", directory_store, layout="{repo}/{path}"))
    assert [file["name"] for file in told["resources"]] == ["org/b/x/w", f"{REPO}/x/w", "torch/t"]
    assert told["model-cas"]["layout"] == "{repo}/{path}"
    with pytest.raises(InputError, match="layout 'flat' is none of"):
        attest("m", directory_store, layout="flat")
    put_model(directory_store, {REPO: {"a/W": b"1", "b/w": b"1"}}, tag="case")
    with pytest.raises(InputError, match="--layout"):  # one file on macOS
        attest("m:case", directory_store, layout="{name}")


@pytest.mark.parametrize("curve", CURVES)
def test_the_key_signs_what_dsse_says(directory_store: Store, tmp_path: Path, curve: str) -> None:
    put_model(directory_store, {REPO: FILES})
    private, public = write_pair(tmp_path, curve)
    done = attest("m", directory_store, key=lambda: read_key(str(private), "--sign-with", unasked))
    envelope = json.loads(done.data)["dsseEnvelope"]
    hint = json.loads(done.data)["verificationMaterial"]["publicKey"]["hint"]
    assert hint == hashlib.sha256(public.read_bytes()).hexdigest()
    key = load_pem_public_key(public.read_bytes())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    algorithm = {"P-256": hashes.SHA256(), "P-384": hashes.SHA384(), "P-521": hashes.SHA512()}[curve]
    signed = signed_bytes(base64.b64decode(envelope["payload"]))
    key.verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed, ec.ECDSA(algorithm))


def test_a_key_with_a_passphrase_and_a_key_as_text(tmp_path: Path) -> None:
    private, public = write_pair(tmp_path, passphrase=PASSPHRASE)
    assert read_key(str(private), "K", lambda: PASSPHRASE).public == public.read_bytes()
    assert parse_key(private.read_bytes(), "K", lambda: PASSPHRASE).public == public.read_bytes()
    with pytest.raises(FormatError, match="its passphrase is wrong") as raised:
        read_key(str(private), "K", lambda: "guess")
    assert "guess" not in str(raised.value)


def test_other_keys_are_refused(tmp_path: Path) -> None:
    for data in other_kinds().values():
        (tmp_path / "key").write_bytes(data)
        with pytest.raises(InputError, match="another kind than model-signing verifies: make one on P-256"):
            read_key(str(tmp_path / "key"), "K", unasked)
    (tmp_path / "key").write_text("untrusted comment: minisign secret key\nRWQ=\n")
    with pytest.raises(InputError, match=r"a key of `cas keygen`, which signs refs: .*ECDSA"):
        read_key(str(tmp_path / "key"), "K", unasked)
    (tmp_path / "key").write_bytes(write_pair(tmp_path)[1].read_bytes())
    with pytest.raises(FormatError, match="it is no private key in PEM"):
        read_key(str(tmp_path / "key"), "K", unasked)
    with pytest.raises(InputError, match=r"--sign-with: there is no key at .*none: make one with `openssl"):
        read_key(str(tmp_path / "none"), "--sign-with", unasked)
    for secret in (
        "LS0tLS1CRUdJTi",
        "LS0tLS1CRUdJTi" * 30,
    ):  # a key in base64 in a variable: no file, or no file's name
        with pytest.raises(CasError, match="the path that it holds, if it is one") as raised:
            read_key(secret, "CAS_ATTEST_KEY", unasked)
        assert secret not in "".join(traceback.format_exception(raised.value))
    with pytest.raises(InputError, match="is no key"):
        read_key(str(tmp_path), "K", unasked)


def test_the_command(directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {REPO: FILES})
    where = ("--store", directory_store.url, "attest", "m")
    bare = call_cas(*where)
    assert (bare.returncode, json.loads(bare.stdout)["subject"][0]["name"]) == (0, "m")
    assert "not signed: --sign-with or CAS_ATTEST_KEY names a key" in bare.stderr
    private, _ = write_pair(tmp_path, passphrase=PASSPHRASE)
    file = tmp_path / "m.sig"
    env = {"CAS_ATTEST_KEY": private.read_text(), "CAS_SIGNING_PASSPHRASE": PASSPHRASE}
    done = call_cas(*where, "-o", str(file), env=env)
    assert (done.returncode, done.stdout) == (0, f"{file}\n")
    assert "verifiers leave out .gitattributes; signed" in done.stderr
    assert json.loads(file.read_text())["dsseEnvelope"]["payloadType"] == "application/vnd.in-toto+json"
    told = json.loads(call_cas(*where, "-o", str(file), "--sign-with", str(private), "--json", env=env).stdout)
    assert (told["files"], told["unchecked"], told["is_signed"], told["file"]) == (
        3,
        [".gitattributes"],
        True,
        str(file),
    )
    assert told["release"]["ref"] == "m:latest"
    empty = call_cas(*where, env={"CAS_ATTEST_KEY": ""})
    assert (empty.returncode, empty.stdout) == (2, "")
    refused = call_cas(*where, "--json")
    assert (refused.returncode, json.loads(refused.stdout)["error"]["class"]) == (2, "InputError")
    locked = call_cas(*where, "--sign-with", str(private))
    assert locked.returncode == 2
    assert locked.stderr == f"cas: {private} has a passphrase: set CAS_SIGNING_PASSPHRASE to it\n"
    shown = call_cas(*where, "--sign-with", private.read_text())
    assert (shown.returncode, shown.stderr) == (
        2,
        "cas: --sign-with takes the path of a key's file: a key itself would be seen in lists of processes\n",
    )
    nowhere = call_cas(*where, "-o", str(file / "m.sig"))
    assert nowhere.returncode == 7
    assert "cannot be written" in nowhere.stderr


TAGGED = [
    (folder, reference) for folder, reference in CASES if not reference.startswith("pin:") and "@" not in reference
]


@pytest.mark.parametrize(("folder", "reference"), TAGGED, ids=lambda value: getattr(value, "name", value))
def test_stores_of_every_release_are_attested(folder: Path, reference: str) -> None:
    done = attest(reference, str(folder / "store"), layout="{repo}/{path}")
    told = predicate(done)
    digests = {file["digest"] for file in (*told["resources"], *told["model-cas"]["unchecked"])}
    files = {path: file for path, file in expected(folder)[reference].items() if "/refs/" not in path}
    assert {file["sha256"] for file in files.values()} >= digests
    assert len(told["resources"]) == len({path for path in files if "/snapshots/" in path or path.startswith("torch/")})
