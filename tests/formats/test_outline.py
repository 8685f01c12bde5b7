"""Parts of a manifest agree with the whole of it, and refuse what has other fields or names a chunk otherwise."""

from __future__ import annotations

import pytest

from cas.errors import FormatError
from cas.formats import manifest
from cas.formats.outline import Outline, chunk_names, outline
from tests.formats.manifests import ENCODED, ENCODED_1, EXAMPLE, EXAMPLE_1, WRONG, WRONG_1, A, B
from tests.support.documents import encoded

STRUCTURE = [
    "unknown field", "unknown field of a file", "unknown field of a repo", "field missing", "no version",
    "version a text", "model", "time",
]  # fmt: skip


def test_an_outline_says_what_the_manifest_says() -> None:
    assert EXAMPLE.derived is not None
    model, origin = EXAMPLE.model, (EXAMPLE.derived.transform, EXAMPLE.derived.parent)
    size, files = EXAMPLE.plain_size, len(list(EXAMPLE.all_files()))
    assert outline(ENCODED) == Outline(model, None, size, files, None, *origin)
    assert outline(ENCODED_1) == Outline(model, EXAMPLE_1.created, size, files, EXAMPLE_1.parent, *origin)


def test_every_chunk_is_named() -> None:
    assert chunk_names(ENCODED) == chunk_names(ENCODED_1)
    found = chunk_names(ENCODED)
    digests = {found.digests[at : at + 32].hex() for at in range(0, len(found.digests), 32)}
    assert (found.model, digests) == (EXAMPLE.model, set(EXAMPLE.chunks())) == ("f5-tts", {A, B})


@pytest.mark.parametrize("name", STRUCTURE)
@pytest.mark.parametrize("read", [outline, chunk_names])
def test_what_may_name_chunks_in_another_way_is_refused(read: object, name: str) -> None:
    with pytest.raises(FormatError):
        read(encoded(WRONG[name]))  # type: ignore[operator]


@pytest.mark.parametrize("name", ["parent", "time", "no time", "unknown field", "size below zero"])
def test_a_part_of_a_version_1_is_read_as_strictly(name: str) -> None:
    with pytest.raises(FormatError):
        outline(encoded(WRONG_1[name]))


@pytest.mark.parametrize("name", [name for name in WRONG if name.startswith(("digest ", "chunk with", "chunk an"))])
def test_a_chunk_of_another_name_is_refused(name: str) -> None:
    if name == "digest with two sizes":
        assert chunk_names(encoded(WRONG[name])).digests == bytes.fromhex(A + A)
        return
    with pytest.raises(FormatError, match="malformed"):
        chunk_names(encoded(WRONG[name]))


def test_white_space_in_a_digest_is_no_shorter_digest() -> None:
    with pytest.raises(FormatError, match="64 lower-case hex digits"):
        chunk_names(ENCODED.replace(f'["{A}"'.encode(), f'["{A[:62]}  "'.encode()))


@pytest.mark.parametrize("read", [outline, chunk_names])
def test_a_newer_version_is_called_that(read: object) -> None:
    with pytest.raises(FormatError, match="upgrade model-cas"):
        read(b'{"version":3,"trees":[]}')  # type: ignore[operator]
    with pytest.raises(FormatError, match="upgrade model-cas"):
        read(ENCODED.replace(b'"version":2', b'"version":3'))  # type: ignore[operator]
    with pytest.raises(FormatError, match="over the limit"):
        read(ENCODED + b" " * manifest.MAX_MANIFEST)  # type: ignore[operator]


def test_too_many_chunks_are_refused() -> None:
    with pytest.raises(FormatError, match="at most 200000"):
        chunk_names(encoded(WRONG["too many chunks"]))
