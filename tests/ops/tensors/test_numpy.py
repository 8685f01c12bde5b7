"""`cas.load_tensors` with numpy: the tensors of the files, each byte fetched once, decoded where it belongs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cas
from cas.errors import ChunkCorrupt, FormatError, InputError, NotFoundError
from cas.events import Event, Moved, Phase
from cas.formats.digest import hex_of
from cas.host import Limits
from cas.ops.tensors import loader
from cas.refs.reference import resolve
from cas.store.store import Store
from tests.support.buckets import RecordingBucket
from tests.support.by_hand import put, repo, version
from tests.support.damage import edit, flip
from tests.support.models import noise, publish_tree, put_model, write_tree
from tests.support.safetensors import Tensor, normal, safetensors, with_header

MIB = 1 << 20
KINDS = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
EVERY_KIND = {
    f"layer.{kind}": Tensor(kind, (3, 5), np.arange(15).astype(numpy).tobytes()) for kind, numpy in KINDS.items()
}
LARGE = {
    "embed": Tensor("F32", (1500, 1024), normal(1500 * 1024)),  # 5.9 MiB, a chunk of its own
    "scale": Tensor("F32", (), normal(1, 1)),
    "empty": Tensor("F32", (0, 4), b""),
    "head": Tensor("F16", (1024, 1024), normal(512 * 1024, 2)),
    "norm": Tensor("F32", (7,), normal(7, 3)),
}


def loaded(store: Store | str, **options: Any) -> dict[str, Any]:
    return cas.load_tensors("m", store, framework="numpy", **options)


def check(found: dict[str, Any], wanted: dict[str, Tensor]) -> None:
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        assert found[name].dtype == np.dtype(KINDS[tensor.dtype]), name
        assert found[name].shape == tensor.shape, name
        assert found[name].tobytes() == tensor.data, name
        assert found[name].flags.writeable and found[name].flags.aligned, name


def test_every_kind_of_tensor(store: Store) -> None:
    put_model(store, {"org/model": {"model.safetensors": safetensors(EVERY_KIND)}})
    check(loaded(store), EVERY_KIND)
    check(loaded(store.url), EVERY_KIND)


@pytest.mark.parametrize("order", [None, ["norm", "head", "empty", "embed", "scale"]])
def test_large_and_small_tensors_as_a_publish_cuts_them(
    order: Sequence[str] | None, directory_store: Store, tmp_path: Path
) -> None:
    publish_tree(directory_store, write_tree(tmp_path, {"model.safetensors": safetensors(LARGE, order=order)}))
    bucket, moved = RecordingBucket(directory_store.bucket), list[Event]()
    check(loaded(Store(bucket), on_event=moved.append), LARGE)
    assert sorted(bucket.chunks) == sorted(resolve(directory_store, "m").manifest.chunks()), "each chunk once"
    phases = [event for event in moved if isinstance(event, Phase)]
    assert [phase.name for phase in phases] == ["resolve", "plan", "fetch"]
    assert phases[-1].total == sum(event.plain for event in moved if isinstance(event, Moved))


@pytest.mark.parametrize("chunk", [100, 1000, 10**6])
def test_a_file_that_is_cut_anywhere(chunk: int, directory_store: Store) -> None:
    """As by other rules than today's: chunks with the header and tensors, and tensors over several chunks."""
    tensors = {**EVERY_KIND, "t": Tensor("F32", (300,), normal(300))}
    put_model(directory_store, {"org/model": {"model.safetensors": safetensors(tensors)}}, chunk=chunk)
    check(loaded(directory_store), tensors)


def test_a_tensor_that_is_there_twice_is_fetched_once(directory_store: Store) -> None:
    data = normal(1024)
    tensors = {name: Tensor("F32", (1024,), data) for name in ("tied.a", "tied.b")} | {"c": Tensor("U8", (1,), b"c")}
    whole = safetensors(tensors)
    begin = len(whole) - 1 - 2 * len(data)
    chunks = put(directory_store, whole, [begin, begin + len(data), begin + 2 * len(data)])
    version(directory_store, [repo("org/model", {"model.safetensors": chunks})])
    bucket = RecordingBucket(directory_store.bucket)
    reference = version(directory_store, [repo("org/model", {"model.safetensors": chunks})])
    found = cas.load_tensors(reference, Store(bucket), framework="numpy")
    check(found, tensors)
    found["tied.a"][0] = 7
    assert found["tied.b"][0] != 7, "each has memory of its own"
    assert len(bucket.chunks) == 3


def test_names_choose_tensors_and_what_is_not_wanted_is_not_fetched(directory_store: Store, tmp_path: Path) -> None:
    publish_tree(directory_store, write_tree(tmp_path, {"model.safetensors": safetensors(LARGE)}))
    bucket = RecordingBucket(directory_store.bucket)
    check(loaded(Store(bucket), names=["he*", "empty"]), {name: LARGE[name] for name in ("empty", "head")})
    assert hex_of(LARGE["embed"].data) not in bucket.chunks
    check(loaded(directory_store, names="norm"), {"norm": LARGE["norm"]})
    with pytest.raises(InputError, match="'nrom' matches no tensor"):
        loaded(directory_store, names="nrom")


def test_little_memory(directory_store: Store, tmp_path: Path) -> None:
    publish_tree(directory_store, write_tree(tmp_path, {"model.safetensors": safetensors(LARGE)}))
    check(loaded(directory_store, limits=Limits(budget=MIB, requests=1, workers=1)), LARGE)


def test_a_damaged_chunk(directory_store: Store, tmp_path: Path) -> None:
    publish_tree(directory_store, write_tree(tmp_path, {"model.safetensors": safetensors(LARGE)}))
    damaged = hex_of(LARGE["embed"].data)
    edit(directory_store, damaged, flip)
    with pytest.raises(ChunkCorrupt, match=damaged):
        loaded(directory_store)
    check(loaded(directory_store, names=["head"]), {"head": LARGE["head"]})


def one(name: str, value: int = 0) -> dict[str, Tensor]:
    return {name: Tensor("U8", (2,), bytes([value, value]))}


def index(**files: str) -> bytes:
    return json.dumps({"metadata": {"total_size": 4}, "weight_map": files}).encode()


PIECES = {
    "model-00001-of-00002.safetensors": safetensors(one("a", 1)),
    "model-00002-of-00002.safetensors": safetensors(one("b", 2)),
    "model.safetensors.index.json": index(a="model-00001-of-00002.safetensors", b="model-00002-of-00002.safetensors"),
    "consolidated.safetensors": safetensors(one("other.a", 1)),
    "config.json": b"{}",
}


class TestFiles:
    def test_an_index_names_the_files(self, directory_store: Store) -> None:
        put_model(directory_store, {"org/model": PIECES})
        check(loaded(directory_store), one("a", 1) | one("b", 2))
        check(loaded(directory_store, include="*.index.json"), one("a", 1) | one("b", 2))
        check(loaded(directory_store, include=["model-00002*", "config.json"]), one("b", 2))
        check(loaded(directory_store, include="*.safetensors"), one("a", 1) | one("b", 2))
        check(loaded(directory_store, include="cons*"), one("other.a", 1))
        check(
            loaded(directory_store, include=["*", "consolidated.safetensors"]),
            one("other.a", 1) | one("a", 1) | one("b", 2),
        )

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (index(a="model-00003-of-00002.safetensors"), "names 'model-00003-of-00002.safetensors', which is no file"),
            (index(a="../x.safetensors"), "which is no file"),
            (index(a="config.json"), "which is no file"),
            (index(c="model-00001-of-00002.safetensors"), "lacks tensor 'c'"),
            (b"[]", "is no index of safetensors files"),
            (b"{" * 2000, "is no index of safetensors files"),
        ],
    )
    def test_a_wrong_index(self, text: bytes, said: str, directory_store: Store) -> None:
        put_model(directory_store, {"org/model": PIECES | {"model.safetensors.index.json": text}})
        with pytest.raises(FormatError, match=said):
            loaded(directory_store)

    def test_two_indexes_in_a_folder(self, directory_store: Store) -> None:
        two = PIECES | {"ema.safetensors.index.json": index(**{"other.a": "consolidated.safetensors"})}
        put_model(directory_store, {"org/model": two})
        with pytest.raises(InputError, match="several indexes"):
            loaded(directory_store)
        check(loaded(directory_store, include="ema.*"), one("other.a", 1))

    def test_folders_and_repos(self, directory_store: Store) -> None:
        unet, vae = {"unet/w.safetensors": safetensors(one("u"))}, {"vae/w.safetensors": safetensors(one("v"))}
        put_model(directory_store, {"org/a": unet | vae, "org/b": {"w.safetensors": safetensors(one("w"))}})
        check(loaded(directory_store), one("u") | one("v") | one("w"))
        check(loaded(directory_store, include="unet/*"), one("u"))
        check(loaded(directory_store, include="org/a/*"), one("u") | one("v"))

    def test_one_name_in_two_files(self, directory_store: Store) -> None:
        files = {"x.safetensors": safetensors(one("a", 1)), "y.safetensors": safetensors(one("a", 2) | one("b"))}
        put_model(directory_store, {"org/model": files})
        with pytest.raises(InputError, match=r"tensor 'a' is in x.safetensors and in y.safetensors of m@.*include="):
            loaded(directory_store)
        check(loaded(directory_store, include="y*"), one("a", 2) | one("b"))
        check(loaded(directory_store, names="b"), one("b"))

    @pytest.mark.parametrize("include", [(), "config.json", ["*.bin"]])
    def test_no_safetensors_file(self, include: Any, directory_store: Store) -> None:
        put_model(directory_store, {"org/model": {"pytorch_model.bin": b"x", "config.json": b"{}"}})
        with pytest.raises(InputError, match="no safetensors file"):
            loaded(directory_store, include=include)

    def test_a_pattern_that_matches_nothing(self, directory_store: Store) -> None:
        put_model(directory_store, {"org/model": PIECES})
        with pytest.raises(InputError, match=r"include='unet/\*' matches no file of m@"):
            loaded(directory_store, include="unet/*")

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"1234567",
            noise(100),
            with_header({"a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 2]}}, b"ab"),
            with_header({"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}}, b"abc"),
            with_header({"a": {"dtype": "F8_E4M3FNUZ", "shape": [3], "data_offsets": [0, 2]}}, b"ab")[:-1],
        ],
    )
    def test_a_file_that_is_none(self, data: bytes, directory_store: Store) -> None:
        put_model(directory_store, {"org/model": {"model.safetensors": data}})
        with pytest.raises(FormatError, match=r"model.safetensors of m@.* is no sound safetensors file"):
            loaded(directory_store)

    def test_a_header_over_several_chunks(self, directory_store: Store) -> None:
        tensors = {f"a.long.name.of.a.tensor.{number}": Tensor("U8", (1,), bytes([number])) for number in range(50)}
        put_model(directory_store, {"org/model": {"model.safetensors": safetensors(tensors)}}, chunk=5)
        check(loaded(directory_store), tensors)


@pytest.mark.parametrize("kind", ["BF16", "F8_E4M3", "F8_E5M2"])
def test_what_numpy_has_no_type_for(kind: str, directory_store: Store) -> None:
    size = 2 if kind == "BF16" else 1
    header = {"a": {"dtype": kind, "shape": [1], "data_offsets": [0, size]}}
    header |= {"b": {"dtype": "U8", "shape": [1], "data_offsets": [size, size + 1]}}
    put_model(directory_store, {"org/model": {"model.safetensors": with_header(header, bytes(size + 1))}})
    with pytest.raises(InputError, match=f"tensor 'a' of model.safetensors has the type {kind}.*framework='torch'"):
        loaded(directory_store)
    assert list(loaded(directory_store, names="b")) == ["b"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"framework": "jax"}, "write 'torch' or 'numpy'"),
        ({"framework": "numpy", "device": "cuda"}, "leave it out, or use torch"),
        ({"framework": "torch"}, "torch is not installed"),
        ({}, "torch is not installed"),
    ],
)
def test_options(options: dict[str, str], said: str, directory_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "is_installed", lambda: False)
    with pytest.raises(InputError, match=said):
        cas.load_tensors("m", directory_store, **options)  # type: ignore[arg-type]


def test_a_version_that_is_not_there(directory_store: Store) -> None:
    put_model(directory_store, {"org/model": {}})
    with pytest.raises(NotFoundError):
        cas.load_tensors("other", directory_store, framework="numpy")
