"""The corpus of the fuzzer, given to every parser: what fell once does not fall again. And the fuzzer's own parts."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from cas.errors import FormatError
from tools.fuzz import mutators, targets
from tools.fuzz.__main__ import CORPUS, corpus
from tools.fuzz.targets import TARGETS, Target

INPUTS = [path for name in sorted(TARGETS) for path in corpus(name)]


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_an_input_of_the_corpus_is_read_or_refused_with_an_error_of_ours(path: Path) -> None:
    targets.run(path.parent.name, path.read_bytes())


def test_every_target_has_a_corpus_of_small_files() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert {path.parent.name for path in INPUTS} == set(TARGETS)
    assert [path for path in INPUTS if path.stat().st_size > TARGETS[path.parent.name].max_size] == []


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_an_empty_input_is_no_fault(name: str) -> None:
    targets.run(name, b"")


def test_an_exception_that_is_not_ours_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(data: bytes) -> None:
        raise {b"ours": FormatError("refused"), b"foreign": KeyError("x"), b"long": FormatError("x" * 10**6)}[data]

    monkeypatch.setitem(TARGETS, "ref", Target(parse))
    targets.run("ref", b"ours")
    with pytest.raises(KeyError):
        targets.run("ref", b"foreign")
    with pytest.raises(AssertionError, match="1000000 characters"):
        targets.run("ref", b"long")


def test_a_changed_document_is_nearly_always_one_again() -> None:
    data = json.dumps({"a": [1, {"b": "text"}, None], "version": 1}).encode()
    changed = [mutators.json_document(data, random.Random(seed)) for seed in range(300)]
    assert len(set(changed)) > 200
    assert None not in changed
    again = [mutators.json_document(each, random.Random(0)) for each in changed if each is not None]
    assert again.count(None) < 60
    assert mutators.json_document(b"{", random.Random(0)) is None
    assert {mutators.json_document(b"[" * 990 + b"]" * 990, random.Random(seed)) for seed in range(4)} >= {None}


def test_a_changed_header_of_safetensors_has_the_length_that_it_says() -> None:
    data = (2).to_bytes(8, "little") + b"{}" + b"data"
    for seed in range(50):
        changed = mutators.safetensors(data, random.Random(seed))
        assert changed is not None
        assert len(changed) == 8 + int.from_bytes(changed[:8], "little") + 4
    assert mutators.safetensors(b"\xff" * 16, random.Random(0)) is None


def test_only_what_follows_the_first_nul_is_changed() -> None:
    changed = {mutators.after_nul(b"@  x\0" + b"[1]", random.Random(seed)) for seed in range(20)}
    assert len(changed) > 5
    assert all(each is not None and each.startswith(b"@  x\0") for each in changed)
