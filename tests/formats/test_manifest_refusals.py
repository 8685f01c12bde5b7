"""Manifests are read strictly: wrong values, other texts and other versions are refused."""

from __future__ import annotations

import copy

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cas.errors import FormatError, InputError
from cas.formats import manifest
from cas.formats.digest import hex_of
from cas.formats.manifest import Manifest
from tests.formats.manifests import (
    ENCODED,
    ENCODED_1,
    EXAMPLE,
    EXAMPLE_1,
    REPO,
    WRONG,
    WRONG_1,
    A,
    B,
    edited,
    with_chunks,
)
from tests.support.documents import document, encoded


def refused(data: bytes, match: str | None = None) -> None:
    with pytest.raises(FormatError, match=match):
        manifest.parse(data)


TEXTS = {
    "nothing": b"",
    "null": b"null",
    "no JSON": b"<html>503</html>",
    "cut short": ENCODED[:-1],
    "something after it": ENCODED + b"{}",
    "byte order mark": b"\xef\xbb\xbf" + ENCODED,
    "UTF-16": ENCODED.decode().encode("utf-16"),
    "not UTF-8": ENCODED.replace(b"float16", b"float1\xff"),
    "nested": b'{"version":2,"model":' + b"[" * 100_000,
    "nested where nothing is known": b'{"version":2,"x":' + b'{"x":' * 100_000,
    "surrogate": ENCODED.replace(b"float16", b"float1\\ud800"),
    "NaN": ENCODED.replace(b'"size":0', b'"size":NaN'),
    "infinity": ENCODED.replace(b'"size":0', b'"size":1e999'),
}

# Other encodings: what each replaces in a manifest, and by what.
OTHERS: dict[str, tuple[bytes, bytes]] = {
    "a newline after it": (b"}}", b"}}\n"),
    "white space": (b'"model":"', b'"model": "'),
    "needless escape": (b"float16", b"float1\\u0036"),
    "annotations out of order": (b'"a":"1","note":"\xc3\x9f"', b'"note":"\xc3\x9f","a":"1"'),
    "fields out of order": (b'"repo_type":"model","commit"', b'"commit":"%s","repo_type":"model","x"' % (b"c" * 40)),
    "refs out of order": (b'"main","pr/1"', b'"pr/1","main"'),
}


def test_the_sources_of_the_wrong_ones_are_right() -> None:
    manifest.parse(encoded(document(repo=["a"], plain_files=["torch/b"])))
    manifest.parse(encoded(with_chunks([A, 5], [B, 6], [A, 5])))
    manifest.parse(encoded(edited(lambda m: m["repos"].insert(0, {**REPO, "commit": "1" * 40, "refs": ["other"]}))))
    assert manifest.parse(ENCODED_1) == EXAMPLE_1


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_refused(name: str) -> None:
    refused(encoded(WRONG[name]))


@pytest.mark.parametrize("name", WRONG_1)
def test_a_wrong_value_of_version_1_is_refused(name: str) -> None:
    refused(encoded(WRONG_1[name]))


@pytest.mark.parametrize("name", TEXTS)
def test_bytes_that_are_no_manifest_are_refused(name: str) -> None:
    refused(TEXTS[name])


def in_other_words(name: str, data: bytes) -> bytes:
    old, new = OTHERS[name]
    assert data.count(old) == 1
    return data.replace(old, new).replace(b',"x":"%s"' % (b"c" * 40), b"")


@pytest.mark.parametrize("name", OTHERS)
def test_another_encoding_of_the_same_is_refused_so_that_one_content_has_one_name(name: str) -> None:
    refused(in_other_words(name, ENCODED), "one order and form")


@pytest.mark.parametrize("name", [name for name in OTHERS if name != "refs out of order"])
def test_another_encoding_of_a_version_1_is_read_and_has_a_name_of_its_own(name: str) -> None:
    other = in_other_words(name, ENCODED_1)
    assert manifest.parse(other) == manifest.parse(ENCODED_1)
    assert hex_of(other) != hex_of(ENCODED_1)


@pytest.mark.parametrize("what", ["repos", "files of a repo", "plain files"])
def test_another_order_is_refused_and_never_written(what: str) -> None:
    made = edited(lambda m: m["repos"].insert(0, {**copy.deepcopy(REPO), "commit": "1" * 40, "refs": ["other"]}))
    made["files"].append({"path": "torch/z", "size": 0, "chunks": []})
    right = encoded(made)
    {"repos": made["repos"], "files of a repo": made["repos"][0]["files"], "plain files": made["files"]}[what].reverse()
    refused(encoded(made), "one order and form")
    assert manifest.encode(msgspec.convert(made, Manifest)) == right


@pytest.mark.parametrize("version", [0, 3, 2**40])
def test_another_version_is_refused_by_name_whatever_else_it_holds(version: int) -> None:
    refused(
        b'{"version":%d,"shape":{"of":["things","to come"]}}' % version,
        rf"version {version}; .* knows versions 1 and 2",
    )


def test_an_unknown_field_is_named() -> None:
    refused(encoded(WRONG["unknown field"]), "endpoint")


def test_errors_stay_short() -> None:
    for data in (b'{"version":%s}' % (b"9" * 4000), encoded(document(plain_files=["x" * 5000]))):
        with pytest.raises(FormatError) as caught:
            manifest.parse(data)
        assert len(str(caught.value)) < 300


@given(st.binary(max_size=40), st.integers(0, len(ENCODED)), st.integers(0, 40))
def test_a_mutated_manifest_is_refused_or_one_like_any_other(noise: bytes, at: int, removed: int) -> None:
    data = ENCODED[:at] + noise + ENCODED[at + removed :]
    try:
        found = manifest.parse(data)
    except FormatError:
        return
    assert manifest.parse(manifest.encode(found)) == found


@pytest.mark.parametrize("name", ["", "-m", ".m", "m/n", "m\n", "m n", "ü", "m" * 97, "../m"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="is not a name"):
        manifest.check_name(name, "model")
    assert manifest.check_name("F5-tts_v1.0", "model") == "F5-tts_v1.0"


def test_a_manifest_over_the_limit_is_refused_before_it_is_read() -> None:
    refused(bytes(manifest.MAX_MANIFEST + 1), "over the limit")


def test_what_just_fits_the_limits_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    count = sum(len(file.chunks) for file in EXAMPLE.all_files())
    for name, most in (("MAX_MANIFEST", len(ENCODED)), ("MAX_CHUNKS", count)):
        monkeypatch.setattr(manifest, name, most)
        assert manifest.parse(ENCODED) == EXAMPLE
        with monkeypatch.context() as patched, pytest.raises(FormatError):
            patched.setattr(manifest, name, most - 1)
            manifest.parse(ENCODED)


@pytest.mark.parametrize("name", ["a..b", "a..", "org/a..b", "a--b", "org/a--b"])
def test_a_repo_id_that_the_hub_would_not_give_is_refused(name: str) -> None:
    refused(
        ENCODED.replace(b'"repo_id":"SWivid/F5-TTS"', b'"repo_id":"%s"' % name.encode()), r"contains '\.\.' or '--'"
    )
