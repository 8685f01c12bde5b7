"""How much of a seed is read to find out whether it holds what is missing."""

from __future__ import annotations

import shutil

import pytest

from cas.host import Limits
from cas.local import seeds
from tests.ops.restore.versions import MIB, TENSORS, Versions
from tests.support.models import KIB, check, write_tree
from tools.models.safetensors import write_safetensors
from tools.models.weights import Recipe, Weights


@pytest.mark.parametrize("shape", ["hub", "plain folder"])
def test_a_seed_with_the_very_version_leaves_nothing_to_fetch(shape: str, versions: Versions, reads: list[int]) -> None:
    versions.restore("new", cache_dir=versions.root / "volume/hf/hub")
    shutil.rmtree(versions.root / "volume/hf/hub/models--org--model/.cas")
    seed = {"hub": versions.root / "volume/hf/hub", "plain folder": versions.root / "new"}[shape]
    restored = versions.restore(seeds=[seed])
    assert (restored.fetched, versions.bucket.chunks, restored.reused) == (0, [], restored.total)
    check(restored, versions.new)
    assert (reads == []) == (shape == "hub"), "a blob's name says what it holds, until it is copied"


def test_what_cannot_match_is_not_read(versions: Versions, reads: list[int]) -> None:
    """Sizes tell: a model of other shapes is told by its header alone."""
    shapes = {f"w{at}": ("F32", (1281 + at, 256)) for at in range(6)}
    write_safetensors(versions.root / "seed/model.safetensors", Weights(shapes, Recipe(3)))
    restored = versions.restore(seeds=[versions.root / "seed"])
    assert (restored.reused, reads) == (0, [])


def test_a_file_that_matches_nothing_is_given_up(
    versions: Versions, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seeds, "_SAMPLE", 2 * MIB)
    monkeypatch.setattr(seeds, "_SAMPLE_UNLIKELY", 1 * MIB)
    monkeypatch.setattr(seeds, "_MAX_IN_VAIN", 3 * MIB)
    seed = versions.root / "seed"
    for at in range(5):
        write_safetensors(seed / f"{at}.safetensors", Weights({**TENSORS, f"{at}": ("F32", (9,))}, Recipe(at + 7)))
    assert versions.restore(seeds=[seed], dry_run=True).reused == 0
    unlikely = 4 * 1280 * KIB
    assert sum(reads) == unlikely, "one tensor of each, until half of what is missing was read in vain"
    reads.clear()
    write_safetensors(seed / "model.safetensors", Weights(TENSORS, Recipe(99)))
    assert versions.restore(seeds=[seed], dry_run=True).reused < KIB, "the header"
    assert sum(reads) <= unlikely + 3 * MIB


def test_a_few_equal_tensors_far_apart_are_found(versions: Versions, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is probed lies all over a file; one hit, and all of it is looked at."""
    monkeypatch.setattr(seeds, "_SAMPLE", 4 * MIB)
    write_tree(versions.root / "seed", {"renamed.bin": versions.old["model.safetensors"]})
    versions.restore("old", cache_dir=versions.root / "unused")
    restored = versions.restore(seeds=[versions.root / "seed"])
    assert restored.fetched <= versions.added_bytes + 3 * KIB


def test_reading_ends_when_nothing_is_missing(versions: Versions, reads: list[int]) -> None:
    for number in range(3):
        write_tree(versions.root / f"seed{number}", versions.new)
    named = [versions.root / f"seed{number}" for number in range(3)]
    restored = versions.restore(seeds=named, limits=Limits(workers=1))
    assert restored.fetched == 0
    assert sum(reads) <= restored.total
    assert list(restored.reused_from) == [str(versions.root / "seed0")]
