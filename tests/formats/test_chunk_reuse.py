"""From version to version the chunks of what did not change stay the same, and a publish sends the others only."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

import cas
from cas.formats.chunking import Span
from cas.formats.digest import hex_of
from cas.store.store import Store
from tests.formats.files_to_cut import MIB, cut, floats, gguf, noise, safetensors, torch_zip
from tests.support.models import publish_tree, read_tree, snapshot, write_tree
from tools.models.safetensors import trained_like, write_safetensors
from tools.models.weights import Array, Recipe, Shapes, Weights, nbytes

Form = Callable[[Mapping[str, Array], Path], bytes]


SHAPES: Shapes = (
    {f"layer.{n}.weight": ("F32", (512, 640)) for n in range(12)}
    | {f"layer.{n}.bias": ("F32", (640,)) for n in range(12)}
    | {"embed": ("F32", (2304, 1024)), "half": ("F16", (1024, 700)), "brain": ("BF16", (100, 20)), "n": ("I64", (3,))}
)


def tensors_of(data: bytes) -> dict[str, tuple[int, int]]:
    """Return the offsets at which each tensor of a safetensors file begins and ends."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    return {
        name: (start + entry["data_offsets"][0], start + entry["data_offsets"][1])
        for name, entry in header.items()
        if name != "__metadata__"
    }


def new_spans(before: bytes, after: bytes) -> list[Span]:
    """Return the chunks of `after` that `before` does not have."""
    known = {hex_of(before[span.offset : span.offset + span.size]) for span in cut(before)}
    return [span for span in cut(after) if hex_of(after[span.offset : span.offset + span.size]) not in known]


def touch(found: Iterable[Span], ranges: Iterable[tuple[int, int]]) -> bool:
    """Return whether each span contains a byte of one of the ranges (begin, end)."""
    listed = list(ranges)
    return all(any(begin < span.offset + span.size and span.offset < end for begin, end in listed) for span in found)


def test_a_successor_shares_all_but_what_changed(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    trained_like(SHAPES, before, seed=1)
    trained_like(SHAPES, after, seed=1, changed_fraction=0.15, header_note="fine-tuned " * 50)
    changed = Weights(SHAPES, Recipe(1, changed_fraction=0.15)).changed
    old, new = before.read_bytes(), after.read_bytes()
    places = tensors_of(new)
    assert places["embed"] != tensors_of(old)["embed"]  # the longer header moved everything
    found = new_spans(old, new)
    assert found[0].offset == 0
    assert touch(found[1:], (places[name] for name in changed))
    # A changed tensor takes with it only what shares its chunk: less than 2 MiB.
    assert sum(span.size for span in found[1:]) < sum(nbytes(*SHAPES[name]) for name in changed) + 2 * MIB
    assert changed


def test_an_added_tensor_moves_nobody(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    trained_like(SHAPES, before, seed=1)
    trained_like({**SHAPES, "layer.5.added": ("F32", (600, 512))}, after, seed=1)
    old, new = before.read_bytes(), after.read_bytes()
    added = tensors_of(new)["layer.5.added"]
    assert touch(new_spans(old, new), [(0, 1), added])


@pytest.mark.parametrize("form", [torch_zip, gguf])
def test_one_changed_tensor_is_all_that_changes(form: Form, tmp_path: Path) -> None:
    tensors = {f"t{n}": floats(3 * MIB // 8 + n, n) for n in range(6)} | {f"s{n}": floats(9, n) for n in range(4)}
    changed = {**tensors, "t2": floats(len(tensors["t2"]), 99)}
    old, new = form(tensors, tmp_path), form(changed, tmp_path)
    start = new.index(changed["t2"].tobytes())
    size = changed["t2"].nbytes
    records = [(len(new) - 1, len(new))] if form is torch_zip else []  # the zip's directory holds the tensor's CRC
    found = new_spans(old, new)
    assert touch(found, [(start, start + size), *records])
    assert sum(span.size for span in found) < size + 64 * 1024


@pytest.mark.parametrize("form", [torch_zip, gguf])
def test_an_added_member_shares_the_rest(form: Form, tmp_path: Path) -> None:
    tensors = {f"t{n}": floats(3 * MIB // 8, n) for n in range(4)}
    old, new = form(tensors, tmp_path), form({**tensors, "new": floats(MIB // 2, 9)}, tmp_path)
    added = 2 * MIB
    before = 3 * MIB // 2  # in a zip, what precedes it now ends with the header of another member
    assert sum(span.size for span in new_spans(old, new)) < added + before + 64 * 1024


def test_a_publish_sends_only_what_changed(directory_store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    file = folder / "model.safetensors"
    trained_like(SHAPES, file, seed=1)
    old = file.read_bytes()
    first = publish_tree(directory_store, folder)
    trained_like(SHAPES, file, seed=1, changed_fraction=0.15, header_note="fine-tuned")
    new = file.read_bytes()
    second = publish_tree(directory_store, folder)
    expected = new_spans(old, new)
    assert first.uploaded == first.total == len(old)
    assert (second.uploaded_chunks, second.uploaded) == (len(expected), sum(span.size for span in expected))
    assert second.uploaded < 0.3 * second.total


def test_equal_tensors_are_stored_once(directory_store: Store, tmp_path: Path) -> None:
    weights = Weights({"a": ("F32", (4, MIB))}, Recipe(1))
    write_safetensors(tmp_path / "w", weights)
    zeros, _ = safetensors([("F32", 16 * MIB), ("F32", 16 * MIB), ("F16", 8 * MIB)])
    files = {
        "zeros": zeros,
        "a": (tmp_path / "w").read_bytes(),
        "b": (tmp_path / "w").read_bytes(),
        "empty": b"",
    }
    folder = write_tree(tmp_path / "model", files)
    published = publish_tree(directory_store, folder)
    assert published.chunks == published.uploaded_chunks == 2 + 3  # a header and 8 MiB of zeros; a header and 16 MiB
    restored = cas.restore("m", directory_store, cache_dir=tmp_path / "hub")
    assert read_tree(snapshot(restored)) == files


def test_a_file_of_an_unknown_kind_is_cut_by_its_content_while_it_is_sent(
    directory_store: Store, tmp_path: Path
) -> None:
    content = noise(168 * MIB)[: 24 * MIB]
    folder = write_tree(tmp_path / "model", {"weights.data": content})
    assert cas.publish("m", cas.Source.from_folder(folder, "o/r"), directory_store, dry_run=True).total == len(content)
    first = publish_tree(directory_store, folder)
    assert first.uploaded_chunks == len(cut(content)) > 3
    assert not publish_tree(directory_store, folder).created
    write_tree(folder, {"weights.data": b"a longer front" + content})
    second = publish_tree(directory_store, folder)
    assert second.uploaded_chunks == 1
    restored = cas.restore("m", directory_store, cache_dir=tmp_path / "hub")
    assert read_tree(snapshot(restored)) == {"weights.data": b"a longer front" + content}


def test_the_older_version_of_a_file_that_is_cut_by_its_content_is_a_seed(
    directory_store: Store, tmp_path: Path
) -> None:
    content = noise(168 * MIB)[: 24 * MIB]
    publish_tree(directory_store, write_tree(tmp_path / "model", {"weights.data": b"a longer front" + content}))
    seed = write_tree(tmp_path / "seed", {"older": content})
    restored = cas.restore("m", directory_store, cache_dir=tmp_path / "hub", seeds=[seed])
    assert restored.reused == len(content) + 14 - cut(b"a longer front" + content)[0].size
