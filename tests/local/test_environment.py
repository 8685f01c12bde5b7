"""The variables under which clients find a restored version: one list for commands and the worker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cas.config import CacheDirs
from cas.local.environment import cache_variables, client_variables
from tests.support.in_process import call_cas
from tests.support.models import publish_tree, write_tree
from tests.support.processes import run_cas
from worker.boot import environment

DIRS = CacheDirs(Path("/h/hub"), Path("/h"))
ALWAYS = {"HF_HOME": "/h", "HF_HUB_CACHE": "/h/hub", "HUGGINGFACE_HUB_CACHE": "/h/hub", "TORCH_HOME": "/h/torch"}
OVERRIDING = (
    "TRANSFORMERS_CACHE",
    "PYTORCH_TRANSFORMERS_CACHE",
    "PYTORCH_PRETRAINED_BERT_CACHE",
    "SENTENCE_TRANSFORMERS_HOME",
)


def test_variables_that_override_the_hub_cache_are_set_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert client_variables(DIRS) == {**ALWAYS, "HF_HUB_OFFLINE": "1"}
    for name in OVERRIDING:
        monkeypatch.setenv(name, "/elsewhere")
    assert cache_variables(DIRS) == {**ALWAYS, **dict.fromkeys(OVERRIDING, "/h/hub")}


def test_the_worker_sets_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    set_by_worker: dict[str, str] = {}
    monkeypatch.setattr(environment.os, "environ", set_by_worker)
    environment.apply(Path("/h"))
    wanted = {**ALWAYS, **dict.fromkeys(OVERRIDING, "/h/hub"), "HF_HUB_DISABLE_SHARED_BLOBS": "1"}
    assert set_by_worker == wanted


def test_a_command_and_a_shell_get_them(tmp_path: Path) -> None:
    store, hub = str(tmp_path / "store"), tmp_path / "cache/hub"
    publish_tree(store, write_tree(tmp_path / "tree", {"w.bin": b"w"}))
    misleading = dict.fromkeys((*ALWAYS, *OVERRIDING), "/elsewhere") | {"HF_HOME": ""}
    shell = json.loads(call_cas("env", "m", "--json", "--store", store, "--cache-dir", str(hub), env=misleading).stdout)
    words = ("run", "--store", store, "--cache-dir", str(hub), "m", "--", "env")
    lines = run_cas(*words, env=misleading).stdout.splitlines()
    assert "/elsewhere" not in {*shell.values(), *(line.partition("=")[2] for line in lines)}
    (view,) = hub.glob(".locks/.cas/m@*/view/hub")
    assert {f"{name}={view}" for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", *OVERRIDING)} <= set(lines)
