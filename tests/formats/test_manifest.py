"""Manifests: they have one encoding, and cost the reader bounded memory."""

from __future__ import annotations

import sys
from pathlib import Path
from unicodedata import category

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cas.errors import FormatError, InputError
from cas.formats import manifest
from cas.formats.digest import hex_of
from cas.formats.frame import MAX_CHUNK
from cas.formats.manifest import ChunkRef, PlainFile
from tests.formats.hostile_manifests import CASES
from tests.formats.manifests import ENCODED, ENCODED_1, EXAMPLE, EXAMPLE_1, A, B, with_chunks
from tests.support.bounded import call_within_memory
from tests.support.documents import encoded

# Writing and reading


def test_a_manifest_is_written_in_one_way_for_ever() -> None:
    assert manifest.encode(EXAMPLE) == ENCODED
    assert manifest.digest_of(EXAMPLE) == hex_of(ENCODED)


def test_a_manifest_of_version_1_keeps_its_bytes() -> None:
    assert manifest.parse(ENCODED_1) == EXAMPLE_1
    assert manifest.encode(EXAMPLE_1) == ENCODED_1
    assert manifest.digest_of(EXAMPLE_1) == hex_of(ENCODED_1)


def test_a_manifest_reads_back() -> None:
    assert manifest.parse(ENCODED) == EXAMPLE
    assert EXAMPLE.chunks() == {A: 4, B: 5}
    assert EXAMPLE.plain_size == 13
    assert [file.path for file in EXAMPLE.all_files()] == [
        "F5TTS/модель.safetensors",
        "empty",
        "torch/hub/checkpoints/x.pth",
    ]


def test_the_order_of_annotations_does_not_matter() -> None:
    other = {"a": "1", "note": "ß"}
    assert list(other) != list(EXAMPLE.annotations)
    assert manifest.encode(manifest.parse(ENCODED)) == ENCODED


@given(
    st.dictionaries(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=9), st.text(max_size=9)),
    st.lists(st.integers(1, MAX_CHUNK), max_size=4),
)
def test_what_can_be_written_can_be_read(annotations: dict[str, str], sizes: list[int]) -> None:
    chunks = tuple(ChunkRef(hex_of(b"%d" % size), size) for size in sizes)
    new = msgspec.structs.replace(EXAMPLE, files=(PlainFile("torch/x", sum(sizes), chunks),), annotations=annotations)
    try:
        data = manifest.encode(new)
    except FormatError:
        assert any(category(char) in ("Cc", "Cs") for text in annotations.values() for char in text)
        return
    assert manifest.parse(data) == new


def test_nothing_is_written_that_could_not_be_read() -> None:
    for path in ("../x", "hub/x", ".bashrc", "modules/x.py", "torch/.x", "Torch/x"):
        bad = msgspec.structs.replace(EXAMPLE, files=(PlainFile(path, 0, ()),))
        with pytest.raises(FormatError, match="refusing"):
            manifest.encode(bad)


# Limits


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded as Linux does it")
@pytest.mark.parametrize("name", CASES)
def test_a_large_manifest_costs_bounded_memory(name: str, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(CASES[name]())
    call_within_memory(256, "tests.formats.hostile_manifests", "read", str(path), seconds=20)
    path.unlink()


def test_a_model_of_a_hundred_gigabytes_is_read_in_a_few_steps_for_each_chunk() -> None:
    data = encoded(with_chunks(*([hex_of(b"%d" % at), 8 << 20] for at in range(20_000))))
    steps = 0

    def count(*_: object) -> None:
        nonlocal steps
        steps += 1

    sys.setprofile(count)  # calls and returns, of functions in Python and in C
    try:
        found = manifest.parse(data)
    finally:
        sys.setprofile(None)
    assert steps < 10 * 20_000
    assert found.plain_size == 20_000 * (8 << 20)


@pytest.mark.parametrize("what", ["model", "tag", "deployment"])
def test_only_a_model_cannot_be_named_pin(what: str) -> None:
    if what == "model":
        with pytest.raises(InputError, match="cannot be named 'pin'"):
            manifest.check_name("pin", what)
    else:
        assert manifest.check_name("pin", what) == "pin"
    assert manifest.check_name("pins", what) == "pins"
