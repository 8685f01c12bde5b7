"""Parts of a manifest agree with the whole of it, and refuse what has other fields or names a chunk otherwise."""

from __future__ import annotations

import pytest

from cas.errors import FormatError
from cas.formats import manifest
from cas.formats.outline import Outline, chunk_names, outline
from tests.formats.manifests import ENCODED, EXAMPLE, WRONG, A, B
from tests.support.documents import encoded

STRUCTURE = [
    "unknown field", "unknown field of a file", "unknown field of a repo", "field missing", "no version",
    "version a text", "model", "time",
]  # fmt: skip


def test_an_outline_says_what_the_manifest_says() -> None:
    assert EXAMPLE.derived is not None
    assert outline(ENCODED) == Outline(
        EXAMPLE.model,
        EXAMPLE.created,
        EXAMPLE.plain_size,
        len(list(EXAMPLE.all_files())),
        EXAMPLE.parent,
        EXAMPLE.derived.transform,
        EXAMPLE.derived.parent,
    )


def test_every_chunk_is_named() -> None:
    found = chunk_names(ENCODED)
    digests = {found.digests[at : at + 32].hex() for at in range(0, len(found.digests), 32)}
    assert (found.model, digests) == (EXAMPLE.model, set(EXAMPLE.chunks())) == ("f5-tts", {A, B})


@pytest.mark.parametrize("name", STRUCTURE)
@pytest.mark.parametrize("read", [outline, chunk_names])
def test_what_may_name_chunks_in_another_way_is_refused(read: object, name: str) -> None:
    with pytest.raises(FormatError):
        read(encoded(WRONG[name]))  # type: ignore[operator]


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
        read(b'{"version":2,"trees":[]}')  # type: ignore[operator]
    with pytest.raises(FormatError, match="upgrade model-cas"):
        read(ENCODED.replace(b'"version":1', b'"version":2'))  # type: ignore[operator]
    with pytest.raises(FormatError, match="over the limit"):
        read(ENCODED + b" " * manifest.MAX_MANIFEST)  # type: ignore[operator]


def test_too_many_chunks_are_refused() -> None:
    with pytest.raises(FormatError, match="at most 200000"):
        chunk_names(encoded(WRONG["too many chunks"]))
