"""Manifests: they have one encoding, are read strictly, and cost the reader bounded memory."""

from __future__ import annotations

import copy
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unicodedata import category

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cas.bucket import Kind
from cas.errors import FormatError, InputError, ManifestCorrupt
from cas.formats import manifest
from cas.formats.digest import hex_of, named
from cas.formats.frame import MAX_CHUNK
from cas.formats.manifest import ChunkRef, Derived, Manifest, PlainFile, Repo, RepoFile
from cas.store.layout import manifest_key
from cas.store.store import Store
from tests.formats.hostile_manifests import CASES
from tests.support.bounded import call_within_memory
from tests.support.documents import document, encoded
from tools import schema

A, B, C = "a" * 64, "b" * 64, "c" * 64

EXAMPLE = Manifest(
    model="f5-tts",
    created="2026-11-23T03:00:00Z",
    created_by="cas 0.1.0",
    parent=named(A),
    repos=(
        Repo(
            repo_id="SWivid/F5-TTS",
            repo_type="model",
            commit="c" * 40,
            refs=("main", "pr/1"),
            files=(
                RepoFile("F5TTS/модель.safetensors", 9, "d" * 64, (ChunkRef(A, 4), ChunkRef(B, 5))),
                RepoFile("empty", 0, "e" * 40, ()),
            ),
        ),
    ),
    files=(PlainFile("torch/hub/checkpoints/x.pth", 4, (ChunkRef(A, 4),)),),
    derived=Derived(named(B), "cast:float16", "bit-equal after .half()"),
    annotations={"note": "ß", "a": "1"},
)

ENCODED = (
    '{"version":1,"model":"f5-tts","created":"2026-11-23T03:00:00Z","created_by":"cas 0.1.0",'
    f'"parent":"blake3:{A}","repos":[{{"repo_id":"SWivid/F5-TTS","repo_type":"model","commit":"{"c" * 40}",'
    '"refs":["main","pr/1"],"files":['
    f'{{"path":"F5TTS/модель.safetensors","size":9,"blob":"{"d" * 64}","chunks":[["{A}",4],["{B}",5]]}},'
    f'{{"path":"empty","size":0,"blob":"{"e" * 40}","chunks":[]}}]}}],'
    f'"files":[{{"path":"torch/hub/checkpoints/x.pth","size":4,"chunks":[["{A}",4]]}}],'
    f'"derived":{{"from":"blake3:{B}","transform":"cast:float16","equivalent":"bit-equal after .half()"}},'
    '"annotations":{"a":"1","note":"ß"}}'
).encode()


def refused(data: bytes, match: str | None = None) -> None:
    with pytest.raises(FormatError, match=match):
        manifest.parse(data)


# Writing and reading


def test_a_manifest_is_written_in_one_way_for_ever() -> None:
    assert manifest.encode(EXAMPLE) == ENCODED
    assert manifest.digest_of(EXAMPLE) == hex_of(ENCODED)


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
    new = msgspec.structs.replace(EXAMPLE, files=(PlainFile("x", sum(sizes), chunks),), annotations=annotations)
    try:
        data = manifest.encode(new)
    except FormatError:
        assert any(category(char) in ("Cc", "Cs") for text in annotations.values() for char in text)
        return
    assert manifest.parse(data) == new


def test_nothing_is_written_that_could_not_be_read() -> None:
    for path in ("../x", "hub/x"):
        bad = msgspec.structs.replace(EXAMPLE, files=(PlainFile(path, 0, ()),))
        with pytest.raises(FormatError, match="refusing"):
            manifest.encode(bad)


# Refusing


def with_chunks(*chunks: object, size: object = None) -> dict[str, Any]:
    made = document(plain_files=["x"])
    made["files"][0] |= {"chunks": list(chunks), "size": sum(chunk[1] for chunk in chunks) if size is None else size}  # type: ignore[index]
    return made


def edited(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    made = copy.deepcopy(json.loads(ENCODED))
    change(made)
    return made


REPO: dict[str, Any] = json.loads(ENCODED)["repos"][0]
FILE: dict[str, Any] = REPO["files"][0]

WRONG: dict[str, dict[str, Any]] = {
    "size below zero": with_chunks(size=-1),
    "size over 2^53": with_chunks(size=2**53),
    "size of 400 digits": with_chunks(size=10**400),
    "size a float": with_chunks(size=0.0),
    "size a text": with_chunks(size="0"),
    "size true": with_chunks(size=False),
    "size null": edited(lambda m: m["files"][0].update(size=None)),
    "chunk empty": with_chunks([A, 0]),
    "chunk below zero": with_chunks([A, 5], [B, -1]),
    "chunk over the limit": with_chunks([A, MAX_CHUNK + 1]),
    "chunks add up to less": with_chunks([A, 5], size=6),
    "chunks add up to more": with_chunks([A, 5], [B, 5], size=6),
    "chunk with three fields": with_chunks([A, 5, 1]),
    "chunk with one field": with_chunks([A], size=0),
    "chunk an object": with_chunks({"digest": A, "size": 1}, size=1),
    "digest upper case": with_chunks(["A" * 64, 5]),
    "digest short": with_chunks([A[1:], 5]),
    "digest with a newline": with_chunks([A + "\n", 5]),
    "digest with two sizes": with_chunks([A, 5], [A, 6]),
    "blob with two contents": edited(lambda m: m["repos"][0]["files"].append(FILE | {"path": "x", "chunks": [[C, 9]]})),
    "too many chunks": with_chunks(*[[A, 1]] * (manifest.MAX_CHUNKS + 1)),
    "repo twice": edited(lambda m: m["repos"].append(REPO)),
    "repo twice by case": edited(lambda m: m["repos"].append({**REPO, "repo_id": "swivid/f5-tts", "refs": []})),
    "ref of two commits": edited(lambda m: m["repos"].append({**REPO, "commit": "1" * 40})),
    "ref of two commits by case": edited(lambda m: m["repos"].append({**REPO, "commit": "1" * 40, "refs": ["Main"]})),
    "ref below a ref": edited(lambda m: m["repos"].append({**REPO, "commit": "1" * 40, "refs": ["main/x"]})),
    "repo id with dashes": edited(lambda m: m["repos"][0].update(repo_id="a--b/c")),
    "repo id with dots": edited(lambda m: m["repos"][0].update(repo_id="a../c")),
    "repo id with a newline": edited(lambda m: m["repos"][0].update(repo_id="a/c\n")),
    "repo id a path": edited(lambda m: m["repos"][0].update(repo_id="a/b/c")),
    "repo id absolute": edited(lambda m: m["repos"][0].update(repo_id="/a")),
    "repo type": edited(lambda m: m["repos"][0].update(repo_type="../model")),
    "commit": edited(lambda m: m["repos"][0].update(commit="main")),
    "commit with a newline": edited(lambda m: m["repos"][0].update(commit="c" * 40 + "\n")),
    "blob": edited(lambda m: m["repos"][0]["files"][1].update(blob="../../x")),
    "blob with a newline": edited(lambda m: m["repos"][0]["files"][1].update(blob="e" * 40 + "\n")),
    "model": edited(lambda m: m.update(model="../m")),
    "model with a newline": edited(lambda m: m.update(model="m\n")),
    "parent": edited(lambda m: m.update(parent=A)),
    "time": edited(lambda m: m.update(created="yesterday")),
    "time in other digits": edited(lambda m: m.update(created="٢٠٢٦-11-23T03:00:00Z")),
    "text with an escape": edited(lambda m: m.update(created_by="\x1b[2J")),
    "text too long": edited(lambda m: m.update(created_by="x" * 4097)),
    "annotation a number": edited(lambda m: m["annotations"].update(a=1)),
    "unknown field": edited(lambda m: m.update(endpoint="https://example.com")),
    "unknown field of a file": edited(lambda m: m["files"][0].update(mode=0o4755)),
    "unknown field of a repo": edited(lambda m: m["repos"][0].update(endpoint="https://example.com")),
    "field missing": edited(lambda m: m.pop("model")),
    "no version": edited(lambda m: m.pop("version")),
    "version a text": edited(lambda m: m.update(version="1")),
    "version a float": edited(lambda m: m.update(version=1.0)),
    "version true": edited(lambda m: m.update(version=True)),
}  # fmt: skip

TEXTS = {
    "nothing": b"",
    "null": b"null",
    "no JSON": b"<html>503</html>",
    "cut short": ENCODED[:-1],
    "something after it": ENCODED + b"{}",
    "byte order mark": b"\xef\xbb\xbf" + ENCODED,
    "UTF-16": ENCODED.decode().encode("utf-16"),
    "not UTF-8": ENCODED.replace(b"0.1.0", b"0.1.\xff"),
    "surrogate": ENCODED.replace(b"0.1.0", b"0.1.\\ud800"),
    "NaN": ENCODED.replace(b'"size":0', b'"size":NaN'),
    "infinity": ENCODED.replace(b'"size":0', b'"size":1e999'),
}

OTHERS: dict[str, bytes] = {
    "a newline after it": ENCODED + b"\n",
    "white space": ENCODED.replace(b":1,", b": 1,", 1),
    "needless escape": ENCODED.replace(b"0.1.0", b"0.1.\\u0030"),
    "annotations out of order": ENCODED.replace(b'"a":"1","note":"\xc3\x9f"', b'"note":"\xc3\x9f","a":"1"'),
    "fields out of order": ENCODED.replace(b'"version":1,"model":"f5-tts"', b'"model":"f5-tts","version":1'),
}


def test_the_sources_of_the_wrong_ones_are_right() -> None:
    manifest.parse(encoded(document(repo=["a"], plain_files=["b"])))
    manifest.parse(encoded(with_chunks([A, 5], [B, 6], [A, 5])))
    manifest.parse(encoded(edited(lambda m: m["repos"].append({**REPO, "commit": "1" * 40, "refs": ["other"]}))))


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_refused(name: str) -> None:
    refused(encoded(WRONG[name]))


@pytest.mark.parametrize("name", TEXTS)
def test_bytes_that_are_no_manifest_are_refused(name: str) -> None:
    refused(TEXTS[name])


@pytest.mark.parametrize("name", OTHERS)
def test_another_encoding_of_the_same_is_read_and_has_a_name_of_its_own(name: str) -> None:
    # What a later encoder may write differently must not make today's manifests unreadable.
    assert manifest.parse(OTHERS[name]) == manifest.parse(ENCODED)
    assert hex_of(OTHERS[name]) != hex_of(ENCODED)


@pytest.mark.parametrize("version", [0, 2, 2**40])
def test_another_version_is_refused_by_name_whatever_else_it_holds(version: int) -> None:
    refused(b'{"version":%d,"shape":{"of":["things","to come"]}}' % version, rf"version {version}; .* knows version 1")


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


# Limits


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded as Linux does it")
@pytest.mark.parametrize("name", CASES)
def test_a_large_manifest_costs_bounded_memory(name: str, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(CASES[name]())
    call_within_memory(256, "tests.formats.hostile_manifests", "read", str(path), seconds=20)
    path.unlink()


def test_a_manifest_over_the_limit_is_refused_before_it_is_read() -> None:
    refused(bytes(manifest.MAX_MANIFEST + 1), "over the limit")


def test_a_model_of_a_hundred_gigabytes_is_read_at_once() -> None:
    made = with_chunks(*([hex_of(b"%d" % at), 8 << 20] for at in range(20_000)))
    data = encoded(made)
    begun = time.perf_counter()
    found = manifest.parse(data)
    assert time.perf_counter() - begun < 0.2
    assert found.plain_size == 20_000 * (8 << 20)


# In a store


def test_a_manifest_over_the_limit_is_not_even_fetched(directory_store: Store) -> None:
    data = bytes(manifest.MAX_MANIFEST + 1)
    directory_store.bucket.put(manifest_key("m", hex_of(data)), data, Kind.MANIFEST)
    with pytest.raises(FormatError, match="at most"):
        directory_store.get_manifest("m", hex_of(data))


def test_a_manifest_is_read_only_under_its_own_name_and_model(directory_store: Store) -> None:
    directory_store.put_manifest(EXAMPLE)
    assert directory_store.get_manifest("f5-tts", hex_of(ENCODED)) == EXAMPLE
    directory_store.bucket.put(manifest_key("other", hex_of(ENCODED)), ENCODED, Kind.MANIFEST)
    with pytest.raises(FormatError, match="is of model f5-tts, not other"):
        directory_store.get_manifest("other", hex_of(ENCODED))
    directory_store.bucket.put(manifest_key("f5-tts", A), ENCODED, Kind.MANIFEST)
    with pytest.raises(ManifestCorrupt, match="was altered"):
        directory_store.get_manifest("f5-tts", A)


# The schema


def test_the_schema_file_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert schema.main(["--check"]) == 0, capsys.readouterr().out


def test_a_drifted_schema_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "schema.json"
    assert schema.main(["--check"], file) == 1
    assert schema.main([], file) == 0
    assert schema.main(["--check"], file) == 0
    file.write_text(file.read_text().replace("200", "201").replace("64", "65"))
    assert schema.main(["--check"], file) == 1
    assert "python -m tools.schema" in capsys.readouterr().err


def test_the_schema_describes_manifests() -> None:
    assert schema_errors(json.loads(ENCODED)) == []
    assert schema_errors(document(repo=["a"], plain_files=["b"])) == []


# What a JSON Schema cannot say: sums, clashes between values, and what is safe as a path.
BEYOND_SCHEMA = ("add up", "two sizes", "two contents", "too many", "twice", "two commits", "a ref", "dashes", "dots")
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "null": type(None)}


@pytest.mark.parametrize("name", [name for name in WRONG if not any(part in name for part in BEYOND_SCHEMA)])
def test_the_schema_refuses_what_the_reader_refuses(name: str) -> None:
    assert schema_errors(WRONG[name])


def schema_errors(value: object) -> list[str]:
    """The errors that a validator of JSON Schema would report, for the keywords that the schema uses."""
    root: dict[str, Any] = manifest.schema()
    return list(_errors(value, root, root, "$"))


def _errors(value: Any, rule: dict[str, Any], root: dict[str, Any], at: str) -> Iterator[str]:  # noqa: PLR0912
    if "$ref" in rule:
        yield from _errors(value, root["$defs"][rule["$ref"].removeprefix("#/$defs/")], root, at)
    if "anyOf" in rule and all(any(_errors(value, one, root, at)) for one in rule["anyOf"]):
        yield f"{at} is none of several"
    if (kind := rule.get("type")) and type(value) is not TYPES[kind]:
        yield f"{at} is no {kind}"
        return
    if isinstance(value, str):
        if not re.search(rule.get("pattern", ""), value) or len(value) > rule.get("maxLength", len(value)):
            yield f"{at} does not match"
    elif isinstance(value, int):
        if not rule.get("minimum", value) <= value <= rule.get("maximum", value):
            yield f"{at} is out of range"
    elif isinstance(value, list):
        if not rule.get("minItems", 0) <= len(value) <= rule.get("maxItems", len(value)):
            yield f"{at} has {len(value)} items"
        for item, one in zip(value, rule.get("prefixItems", []), strict=False):
            yield from _errors(item, one, root, f"{at}[]")
        for item in value if "items" in rule else []:
            yield from _errors(item, rule["items"], root, f"{at}[]")
    elif isinstance(value, dict) and "additionalProperties" in rule:
        rules = rule.get("properties", {})
        yield from (f"{at}.{key} is missing" for key in rule.get("required", []) if key not in value)
        for key, item in value.items():
            other = rules.get(key, rule["additionalProperties"])
            yield from [f"{at}.{key} is unknown"] if other is False else _errors(item, other, root, f"{at}.{key}")
