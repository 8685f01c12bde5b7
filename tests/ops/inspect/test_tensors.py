"""Tensors are compared exactly, however the files are cut into chunks: the tests compare the bytes themselves."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cas import events
from cas.bucket import open_bucket
from cas.ops.inspect.comparison import Comparison, compare
from cas.ops.inspect.diff_tensors import TensorDifferences
from cas.store.layout import chunk_key
from cas.store.store import Store
from tests.support.by_hand import put, repo, version
from tests.support.in_process import cas_json
from tests.support.models import publish_tree, write_tree
from tests.support.safetensors import Tensor, read_safetensors, safetensors, with_header

MIB = 1 << 20

NAMES = st.sampled_from(["a", "b.weight", "c/d", "é", "long" * 20])
TENSORS = st.one_of(
    st.binary(max_size=40).map(lambda data: Tensor("U8", (len(data),), data)),
    st.integers(0, 3).map(lambda count: Tensor("I16", (count, 2), b"\1\2\3\4" * count)),
    st.integers(0, 3).map(lambda count: Tensor("F16", (2, count), b"\1\2\3\4" * count)),
)
CUTS = st.lists(st.integers(1, 700), max_size=12)


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Two files: the second is the first with a few changes, or is unrelated to it."""
    before = draw(st.dictionaries(NAMES, TENSORS, max_size=5))
    after = {**before, **draw(st.dictionaries(NAMES, TENSORS, max_size=2))}
    for name in draw(st.lists(NAMES, max_size=2)):
        after.pop(name, None)
    for name in draw(st.lists(st.sampled_from(sorted(after)), max_size=2)) if after else []:
        data = bytearray(after[name].data)
        if data:
            data[draw(st.integers(0, len(data) - 1))] ^= draw(st.integers(0, 255))
        after[name] = after[name]._replace(data=bytes(data))
    metadata = draw(st.sampled_from([None, {}, {"format": "pt"}]))
    order = draw(st.permutations(sorted(after)))
    return safetensors(before, {}), safetensors(after, metadata, order)


def wanted(before: bytes, after: bytes) -> tuple[dict[str, str], int, bool]:
    """Return what differs according to the bytes, which code of this test reads."""
    (old, old_metadata, _), (new, new_metadata, _) = read_safetensors(before), read_safetensors(after)
    changes = dict.fromkeys(old.keys() - new.keys(), "removed")
    changes |= dict.fromkeys(new.keys() - old.keys(), "added")
    changes |= {name: "changed" for name in old.keys() & new.keys() if old[name] != new[name]}
    same = sum(old[name] == new[name] for name in old.keys() & new.keys())
    return changes, same, (old_metadata or {}) != (new_metadata or {})


def shown(found: TensorDifferences) -> tuple[dict[str, str], int, bool]:
    changes = {pair.name: pair.change for pair in found.pairs}
    assert len(changes) == len(found.pairs)
    return changes, found.unchanged, found.metadata


def tensors_of(found: Comparison, path: str = "m.safetensors") -> TensorDifferences:
    (tensors,) = (
        file.tensors
        for one in found.repos
        for file in one.files
        if file.pair.after and file.pair.after.file.path == path
    )
    assert tensors is not None
    return tensors


@given(pair=files(), before_cuts=CUTS, after_cuts=CUTS)
@settings(max_examples=120)
def test_every_tensor_that_differs_is_named_and_no_other(
    pair: tuple[bytes, bytes], before_cuts: list[int], after_cuts: list[int]
) -> None:
    before, after = pair
    with tempfile.TemporaryDirectory() as folder:
        store = Store(open_bucket(folder))
        a, b = (
            version(store, [repo("org/m", {"m.safetensors": put(store, data, cuts)})])
            for data, cuts in ((before, before_cuts), (after, after_cuts))
        )
        found = compare(a, b, store)
        if found.same:
            assert before == after
        else:
            assert shown(tensors_of(found)) == wanted(before, after)


def test_tensors_that_change_places_in_the_same_chunk_differ(directory_store: Store) -> None:
    s = directory_store
    parts = {"a": Tensor("U8", (3,), b"abc"), "b": Tensor("U8", (3,), b"xyz"), "c": Tensor("U8", (3,), b"abc")}
    swapped = {"a": parts["b"], "b": parts["a"], "c": parts["c"]}
    before, after = safetensors(parts), safetensors(swapped, order=["b", "a", "c"])
    assert before[-9:] == after[-9:]
    versions = [version(s, [repo("o/r", {"m.safetensors": put(s, data, [len(data) - 9])})]) for data in (before, after)]
    found = tensors_of(compare(*versions, s))
    assert shown(found) == ({"a": "changed", "b": "changed"}, 1, False) == wanted(before, after)


@pytest.fixture
def large(tmp_path: Path) -> dict[str, Tensor]:
    """Two large tensors, one of them in several chunks, and small ones that share a chunk."""
    sizes = {"big": 9 * MIB, "middle": MIB, "small.0": 300, "small.1": 500, "small.2": 200, "last": 2 * MIB}
    return {name: Tensor("U8", (size,), os.urandom(size)) for name, size in sizes.items()}


@pytest.mark.parametrize("changed", ["big", "middle", "small.1", "last"])
def test_only_chunks_that_tensors_share_are_fetched(
    directory_store: Store, tmp_path: Path, large: dict[str, Tensor], changed: str
) -> None:
    before = publish_tree(directory_store, write_tree(tmp_path / "t", {"m.safetensors": safetensors(large)})).reference
    data = large[changed].data
    large[changed] = large[changed]._replace(data=data[:-1] + bytes([data[-1] ^ 1]))
    large["new"] = Tensor("U8", (3,), b"new")  # the header grows: nothing stays at its offset
    after = publish_tree(directory_store, write_tree(tmp_path / "t", {"m.safetensors": safetensors(large)})).reference
    phases: list[events.Phase] = []
    listen = lambda event: phases.append(event) if isinstance(event, events.Phase) else None
    found = compare(before, after, directory_store, on_event=listen)
    assert shown(tensors_of(found)) == ({changed: "changed", "new": "added"}, 5, False)
    assert [phase.total for phase in phases if phase.name == "compare"] == [2000 if changed == "small.1" else 0]


def test_a_variant_differs_in_its_dtypes(directory_store: Store, tmp_path: Path) -> None:
    import cas

    tensors = {"w": Tensor("F32", (4,), b"\0\0\x80?" * 4), "ids": Tensor("I64", (1,), b"12345678")}
    publish_tree(directory_store, write_tree(tmp_path / "t", {"m.safetensors": safetensors(tensors), "c": b"c"}))
    cas.derive("m", directory_store, cast="float16", tags=["half"])
    document = cas_json(directory_store, "diff", "m", "m:half")
    assert document["other"] == ["derived", "annotations"]
    ((file,),) = [one["files"] for one in document["repos"] if one["change"]]
    assert file["tensors"]["changes"] == [
        {
            "name": "w",
            "change": "changed",
            "before": {"dtype": "F32", "shape": [4], "size": 16},
            "after": {"dtype": "F16", "shape": [4], "size": 8},
        }
    ]
    assert file["tensors"]["unchanged"] == 1


@pytest.mark.parametrize(
    "damaged",
    [b"", b"short", b"\xff" * 40, with_header({"w": {"dtype": "U8", "shape": [9], "data_offsets": [0, 9]}}, b"abc")],
)
def test_a_damaged_file_is_compared_as_a_file(directory_store: Store, damaged: bytes) -> None:
    sound = safetensors({"w": Tensor("U8", (3,), b"abc")})
    a = version(directory_store, [repo("org/m", {"m.safetensors": put(directory_store, sound)})])
    b = version(directory_store, [repo("org/m", {"m.safetensors": put(directory_store, damaged)})])
    for one, other in ((a, b), (b, a)):
        document: dict[str, Any] = cas_json(directory_store, "diff", one, other)
        (file,) = document["repos"][0]["files"]
        assert (file["change"], file["tensors"]) == ("changed", None)
        assert file["note"].startswith("not compared by tensor: ")


def test_a_lost_chunk_that_must_be_read_is_an_error(directory_store: Store, tmp_path: Path) -> None:
    from cas.errors import ChunkMissing

    a, b = (
        version(directory_store, [repo("org/m", {"m.safetensors": put(directory_store, data)})])
        for data in (safetensors({"w": Tensor("U8", (3,), text)}) for text in (b"abc", b"abd"))
    )
    for path in (tmp_path / "store/chunks").glob("*/*"):
        assert chunk_key(path.name)
        path.unlink()
    with pytest.raises(ChunkMissing):
        compare(a, b, directory_store)
