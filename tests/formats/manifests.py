"""A manifest and its one encoding, and manifests that are wrong in one value each."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from cas.formats import manifest
from cas.formats.digest import named
from cas.formats.frame import MAX_CHUNK
from cas.formats.manifest import ChunkRef, Derived, Derived1, Manifest, Manifest1, PlainFile, Repo, RepoFile
from tests.support.documents import document

A, B, C = "a" * 64, "b" * 64, "c" * 64

EXAMPLE = Manifest(
    model="f5-tts",
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
    derived=Derived(named(B), "cast:float16"),
    annotations={"note": "ß", "a": "1"},
)

ENCODED = (
    '{"version":2,"model":"f5-tts",'
    f'"repos":[{{"repo_id":"SWivid/F5-TTS","repo_type":"model","commit":"{"c" * 40}",'
    '"refs":["main","pr/1"],"files":['
    f'{{"path":"F5TTS/модель.safetensors","size":9,"blob":"{"d" * 64}","chunks":[["{A}",4],["{B}",5]]}},'
    f'{{"path":"empty","size":0,"blob":"{"e" * 40}","chunks":[]}}]}}],'
    f'"files":[{{"path":"torch/hub/checkpoints/x.pth","size":4,"chunks":[["{A}",4]]}}],'
    f'"derived":{{"from":"blake3:{B}","transform":"cast:float16"}},'
    '"annotations":{"a":"1","note":"ß"}}'
).encode()

EXAMPLE_1 = Manifest1(
    **{name: getattr(EXAMPLE, name) for name in ("model", "repos", "files", "annotations")},
    derived=Derived1(named(B), "cast:float16", "bit-equal after .half()"),
    created="2026-11-23T03:00:00Z",
    created_by="cas 0.1.0",
    parent=named(A),
)

ENCODED_1 = ENCODED.replace(
    b'{"version":2,"model":"f5-tts",',
    b'{"version":1,"model":"f5-tts","created":"2026-11-23T03:00:00Z","created_by":"cas 0.1.0",'
    + f'"parent":"blake3:{A}",'.encode(),
).replace(b'"cast:float16"', b'"cast:float16","equivalent":"bit-equal after .half()"')


# Wrong values


def with_chunks(*chunks: object, size: object = None) -> dict[str, Any]:
    made = document(plain_files=["torch/x"])
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
    "equivalence": edited(lambda m: m["derived"].update(equivalent="bit-equal after .half()")),
    "original": edited(lambda m: m["derived"].update({"from": A})),
    "text with an escape": edited(lambda m: m["derived"].update(transform="\x1b[2J")),
    "text too long": edited(lambda m: m["derived"].update(transform="x" * 4097)),
    "time": edited(lambda m: m.update(created="2026-11-23T03:00:00Z")),
    "program": edited(lambda m: m.update(created_by="cas 0.1.0")),
    "parent": edited(lambda m: m.update(parent=None)),
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


def edited_1(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    made = json.loads(ENCODED_1)
    change(made)
    return made  # type: ignore[no-any-return]


WRONG_1: dict[str, dict[str, Any]] = {
    "parent": edited_1(lambda m: m.update(parent=A)),
    "time": edited_1(lambda m: m.update(created="yesterday")),
    "no time": edited_1(lambda m: m.pop("created")),
    "time in other digits": edited_1(lambda m: m.update(created="٢٠٢٦-11-23T03:00:00Z")),
    "program with an escape": edited_1(lambda m: m.update(created_by="\x1b[2J")),
    "program too long": edited_1(lambda m: m.update(created_by="x" * 4097)),
    "unknown field": edited_1(lambda m: m.update(endpoint="https://example.com")),
    "size below zero": edited_1(lambda m: m["files"][0].update(size=-1)),
    "repo twice": edited_1(lambda m: m["repos"].append(m["repos"][0])),
}
