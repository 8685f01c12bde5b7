"""Two hundred versions: what is shown of them is right, and looking takes little memory."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from cas.bucket import open_bucket
from cas.formats.digest import named
from cas.store.layout import chunk_key
from cas.store.store import Store
from tools.bench.many import CHANGED, CHUNKS, SIZE, Many, make_many
from tools.bench.measure import run

MEMORY = 200 * 1024 * 1024


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Many]:
    store = Store(open_bucket(str(tmp_path_factory.mktemp("many") / "store")))
    return store, make_many(store)


def looked(store: Store, tmp_path: Path, *words: str) -> Any:
    """Return the document of a command, and check that its peak of memory is within the bound."""
    out = tmp_path / "out.json"
    measured = run([sys.executable, "-m", "cas", "--json", "-q", "--store", store.url, *words], os.environ, out)
    assert measured.peak < MEMORY, f"{words[0]} took {measured.peak >> 20} MiB"
    return json.loads(out.read_text())


def test_ls_lists_every_version(many: tuple[Store, Many], tmp_path: Path) -> None:
    store, made = many
    listed = looked(store, tmp_path, "ls", "many")
    assert [one["digest"] for one in listed] == [named(digest) for digest in reversed(made.digests)]
    assert (listed[0]["tags"], listed[0]["pins"]) == (["latest"], ["eu-prod"])
    assert sum(bool(one["tags"]) for one in looked(store, tmp_path, "ls")) == 21


def test_tree_shows_one_line_of_descent(many: tuple[Store, Many], tmp_path: Path) -> None:
    store, made = many
    ((document),) = looked(store, tmp_path, "tree")
    assert [one["digest"] for one in document["versions"]] == [named(digest) for digest in made.digests]
    assert {one["depth"] for one in document["versions"]} == {0}


@pytest.mark.parametrize(("first", "second"), [(0, 1), (198, 199), (0, 199), (120, 100)])
def test_diff_of_any_two_versions(many: tuple[Store, Many], tmp_path: Path, first: int, second: int) -> None:
    store, made = many
    words = [f"many@{named(made.digests[number])}" for number in (first, second)]
    document = looked(store, tmp_path, "diff", *words)
    before, after = made.tensors[first], made.tensors[second]
    changed = [f"blocks.{n}.weight" for n in range(CHUNKS) if before[n] != after[n]]
    tensors = document["repos"][0]["files"][0]["tensors"]
    assert [one["name"] for one in tensors["changes"]] == changed
    assert tensors["unchanged"] == CHUNKS - len(changed)
    new = {ref.digest for ref in after} - {ref.digest for ref in before}
    stored = sum((Path(store.url.removeprefix("file://")) / chunk_key(digest)).stat().st_size for digest in new)
    assert document["download"] == {"chunks": len(new), "plain": len(new) * SIZE, "stored": stored, "missing": 0}


def test_du_adds_up(many: tuple[Store, Many], tmp_path: Path) -> None:
    store, made = many
    document = looked(store, tmp_path, "du")
    assert document["count"] == len(made.digests)
    assert document["chunks"] == 1 + CHUNKS + CHANGED * (len(made.digests) - 1)
    assert document["unneeded_chunks"] == document["missing"] == 0
    owners: dict[str, int] = {}
    for refs in made.tensors:
        for ref in refs:
            owners[ref.digest] = owners.get(ref.digest, 0) + 1
    for one, refs in zip(document["versions"], reversed(made.tensors), strict=True):
        sizes = {ref.digest: 50 + int(ref.digest[:2], 16) for ref in refs}
        assert one["freed"] == sum(size for digest, size in sizes.items() if owners[digest] == 1)
        assert one["stored"] - sum(sizes.values()) == document["versions"][0]["stored"] - sum(
            50 + int(ref.digest[:2], 16) for ref in made.tensors[-1]
        )


def test_a_collection_is_planned_in_little_memory(many: tuple[Store, Many], tmp_path: Path) -> None:
    store, made = many
    document = looked(store, tmp_path, "gc", "--dry-run", "--grace", "0s", "--keep", "1")
    kept = {number for number in range(len(made.digests)) if number % 10 == 0} | {len(made.digests) - 1}
    needed = {ref.digest for number in kept for ref in made.tensors[number]}
    every = {ref.digest for refs in made.tensors for ref in refs}
    assert (document["kept_versions"], document["kept_chunks"]) == (len(kept), len(needed) + 1)
    assert document["condemned_versions"] == len(made.digests) - len(kept)
    assert document["condemned_chunks"] == len(every - needed)
