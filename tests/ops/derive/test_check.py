"""`cas derive --check`: a variant is proven again from the store, and nothing that was changed passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import cas
from cas import refs
from cas.errors import FormatError, InputError, IntegrityError, NotFoundError
from cas.formats.digest import hex_of
from cas.formats.frame import Codec, Decoder
from cas.formats.manifest import ChunkRef, Derived, Manifest
from cas.ops.derive.check import check
from cas.refs.reference import Reference
from cas.store.layout import manifest_key
from cas.store.store import Store
from tests.support.in_process import call_cas
from tests.support.safetensors import Tensor, normal, publish_file, read_safetensors, safetensors

TENSORS = {"a": Tensor("F32", (5 << 20,), normal(5 << 20)), "i": Tensor("I64", (3,), b"i" * 24)}


@pytest.fixture
def derived(directory_store: Store, tmp_path: Path) -> Store:
    """A store with m:latest and its variant m:fp16."""
    publish_file(directory_store, tmp_path / "src", safetensors(TENSORS), **{"a.txt": b"a"})
    cas.derive("m", directory_store, cast="float16", tags=["fp16"])
    return directory_store


def put(store: Store, plain: bytes) -> ChunkRef:
    digest = hex_of(plain)
    store.put_frame(digest, store.make_frame(digest, plain, None, Codec()))
    return ChunkRef(digest, len(plain))


def with_manifest(store: Store, change: Callable[[Manifest], Manifest]) -> str:
    """Publish a changed manifest of m:fp16 as m:forged."""
    digest = store.put_manifest(change(refs.resolve(store, "m:fp16").manifest))
    refs.log_of(store, Reference("m", tag="forged")).append(digest, "test")
    return "m:forged"


def with_weights(store: Store, change: Callable[[bytes], bytes]) -> str:
    """The same with other bytes in the weights' file: sound chunks, a sound blob name, wrong values."""
    import hashlib

    def changed(manifest: Manifest) -> Manifest:
        (repo,) = manifest.repos
        decoder = Decoder()
        (old,) = (file for file in repo.files if file.path == "model.safetensors")
        data = change(b"".join(bytes(store.get_chunk(chunk, decoder)[0]) for chunk in old.chunks))
        chunks = tuple(put(store, data[at : at + (8 << 20)]) for at in range(0, len(data), 8 << 20))
        new = msgspec.structs.replace(old, size=len(data), chunks=chunks, blob=hashlib.sha256(data).hexdigest())
        files = tuple(new if file is old else file for file in repo.files)
        return msgspec.structs.replace(manifest, repos=(msgspec.structs.replace(repo, files=files),))

    return with_manifest(store, changed)


def test_a_variant_is_proven_again(store: Store, tmp_path: Path) -> None:
    publish_file(store, tmp_path / "src", safetensors(TENSORS))
    done = cas.derive("m", store, cast="bfloat16", tags=["bf16"])
    seen: list[cas.Event] = []
    proven = check("m:bf16", store, on_event=seen.append)
    assert (proven.reference, proven.original, proven.transform) == (done.reference, done.original, done.transform)
    assert (proven.tensors, proven.proof) == (1, done.proof)
    assert {type(event).__name__ for event in seen} == {"Phase", "Moved"}


def test_other_boundaries_of_chunks_prove_as_well(derived: Store) -> None:
    assert check(with_weights(derived, lambda data: data), derived).tensors == 1


def flip(at: int, mask: int) -> Callable[[bytes], bytes]:
    def flipped(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[at] ^= mask
        return bytes(changed)

    return flipped


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (flip(-25, 1), r"tensor 'a' of org/model/model.safetensors is not .*: 1 elements differ"),
        (flip(5_000_000, 0x80), "1 elements differ"),
        (flip(-1, 1), r"tensor 'i' .* cast from I64 to I64"),
        (flip(20, 1), "the header of org/model/model.safetensors is not that of its original, cast"),
        (lambda data: data + b"12", r"has \d+ bytes in the variant"),
        (lambda data: data[:-2], r"has \d+ bytes in the variant"),
    ],
)
def test_changed_weights_are_found(change: Callable[[bytes], bytes], told: str, derived: Store) -> None:
    with pytest.raises(IntegrityError, match=told):
        check(with_weights(derived, change), derived)


def test_rounding_another_way_is_found(derived: Store) -> None:
    """Towards zero instead of to the nearest: what a careless cast does."""

    def truncate(data: bytes) -> bytes:
        values = np.frombuffer(TENSORS["a"].data, np.float32)
        nearest = values.astype(np.float16)
        bits = nearest.view(np.uint16) - (np.abs(nearest.astype(np.float32)) > np.abs(values))
        start = data.index(nearest[:100].tobytes())
        return data[:start] + bits.astype(np.uint16).tobytes() + data[start + bits.size * 2 :]

    with pytest.raises(IntegrityError, match=r"cast from F32 to F16: \d{6,} elements differ"):
        check(with_weights(derived, truncate), derived)


def replaced(**fields: Any) -> Callable[[Manifest], Manifest]:
    return lambda manifest: msgspec.structs.replace(manifest, **fields)


def repo_with(manifest: Manifest, **fields: Any) -> Manifest:
    return msgspec.structs.replace(manifest, repos=(msgspec.structs.replace(manifest.repos[0], **fields),))


def other_text(manifest: Manifest) -> Manifest:
    text, weights = manifest.repos[0].files
    return repo_with(manifest, files=(msgspec.structs.replace(text, blob="0" * 40), weights))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda m: repo_with(m, commit="1" * 40), "other files, blobs or commits"),
        (lambda m: repo_with(m, refs=("dev",)), "other files, blobs or commits"),
        (other_text, "other files, blobs or commits"),
        (lambda m: repo_with(m, files=m.repos[0].files[1:]), "files are not those of its original"),
        (replaced(annotations={"cast.tensors": "1"}), "records another proof"),
        (replaced(annotations={"cast.tensors": "1", "cast.proof": "blake3:" + "0" * 64}), "records another proof"),
    ],
)
def test_a_changed_manifest_is_found(change: Callable[[Manifest], Manifest], told: str, derived: Store) -> None:
    with pytest.raises(IntegrityError, match=told):
        check(with_manifest(derived, change), derived)


def test_the_wrong_original_is_no_proof(derived: Store, tmp_path: Path) -> None:
    other = {**TENSORS, "a": Tensor("F32", (5 << 20,), normal(5 << 20, 9))}
    digest = publish_file(derived, tmp_path / "other", safetensors(other), **{"a.txt": b"a"}).reference.split("@")[1]
    with pytest.raises(IntegrityError, match="tensor 'a'"):
        check(with_manifest(derived, replaced(derived=Derived(digest, "cast:float16"))), derived)
    with pytest.raises(IntegrityError, match=r"bytes in the variant|header"):
        check(with_manifest(derived, replaced(derived=Derived(digest, "cast:bfloat16"))), derived)


def test_what_cannot_be_checked_says_why(derived: Store) -> None:
    with pytest.raises(InputError, match="m:latest is not a cast variant"):
        check("m:latest", derived)
    own = refs.resolve(derived, "m").digest
    unknown = with_manifest(derived, replaced(derived=Derived(f"blake3:{own}", "cast:float4")))
    with pytest.raises(FormatError, match="was cast to 'float4'; this program knows float16, bfloat16: upgrade"):
        check(unknown, derived)
    other = with_manifest(derived, replaced(derived=Derived(f"blake3:{own}", "prune:half")))
    with pytest.raises(InputError, match="is not a cast variant"):
        check(other, derived)
    derived.bucket.delete(manifest_key("m", own))
    with pytest.raises(NotFoundError, match=own):
        check("m:fp16", derived)


def test_the_command_proves_and_exits_with_4_when_it_cannot(derived: Store) -> None:
    words = ("--store", derived.url, "derive", "--check")
    good = call_cas(*words, "m:fp16")
    assert (good.returncode, good.stdout) == (0, "")
    assert "cast:float16: 1 tensors compared" in good.stderr
    document = msgspec.json.decode(call_cas(*words, "--json", "m:fp16").stdout)
    assert document["proof"] == refs.resolve(derived, "m:fp16").manifest.annotations["cast.proof"]
    assert call_cas(*words, "-q", "m:fp16").stderr == ""
    bad = call_cas(*words, with_weights(derived, flip(-25, 1)))
    assert (bad.returncode, len(bad.stderr.splitlines())) == (4, 1)
    tensors, _, _ = read_safetensors(safetensors(TENSORS))
    assert tensors == TENSORS
