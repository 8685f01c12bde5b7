"""Folders of programs that know no hub cache: ComfyUI's models/, and a folder of GGUF files for llama.cpp."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cas.formats import safetensors
from cas.store.store import Store
from tests.support.in_process import call_cas
from tests.support.models import KIB, noise, put_model, read_tree, write_tree
from tools.models.gguf import write_gguf
from tools.models.safetensors import write_safetensors
from tools.models.weights import Recipe, Weights

# What ComfyUI lists of a folder below models/ (folder_paths.py, supported_pt_extensions), but for `configs`.
_COMFYUI_SUFFIXES = {".ckpt", ".pt", ".pt2", ".bin", ".pth", ".safetensors", ".pkl", ".sft"}


def comfyui_lists(models: Path, kind: str) -> list[str]:
    """The names that ComfyUI offers of one kind of model: it lists the kind's folder to any depth, but for `.git`."""
    found = []
    for parent, folders, names in os.walk(models / kind, followlinks=True):
        folders[:] = [name for name in folders if name != ".git"]
        found += [
            os.path.relpath(os.path.join(parent, name), models / kind)
            for name in names
            if os.path.splitext(name)[1].lower() in _COMFYUI_SUFFIXES
        ]
    return sorted(found)


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    """ComfyUI's models/ as its repository has it, with a checkpoint of the user's."""
    return write_tree(
        tmp_path / "ComfyUI/models",
        {
            "checkpoints/put_checkpoints_here": b"",
            "vae/put_vae_here": b"",
            "loras/put_loras_here": b"",
            "checkpoints/mine.safetensors": b"mine",
        },
    )


def restore(store: Store, *words: str) -> None:
    ran = call_cas("--store", store.url, "-q", "restore", *words)
    assert ran.returncode == 0, ran.stderr


def test_a_models_folder_of_comfyui(comfyui: Path, directory_store: Store, tmp_path: Path) -> None:
    weights = tmp_path / "made.safetensors"
    write_safetensors(weights, Weights({"x": ("F16", (8, 8))}, Recipe(0)))
    vae = weights.read_bytes()
    # As a repo of the hub has it, and as a team publishes its own folder.
    hub = {"split_files/vae/ae.safetensors": vae, "split_files/text_encoders/t5.safetensors": noise(90 * KIB)}
    put_model(directory_store, {"Comfy-Org/flux": {**hub, "README.md": b"#"}}, model="flux")
    own = {"checkpoints/ours.safetensors": noise(80 * KIB, 1), "loras/style/blue.safetensors": b"l"}
    put_model(directory_store, {"org/own": own}, model="own")
    to = ("--to", str(comfyui))
    before = read_tree(comfyui)

    restore(directory_store, "flux", "--include", "*/vae/*", "--to", str(comfyui / "vae"), "--layout", "{name}")
    restore(directory_store, "own", *to)
    assert comfyui_lists(comfyui, "vae") == ["ae.safetensors"]
    assert comfyui_lists(comfyui, "loras") == ["style/blue.safetensors"]
    assert comfyui_lists(comfyui, "checkpoints") == ["mine.safetensors", "ours.safetensors"]
    data = (comfyui / "vae/ae.safetensors").read_bytes()
    head = data[: safetensors.length(data[:8], len(data))]
    assert [tensor.name for tensor in safetensors.parse(head, len(data)).tensors] == ["x"]
    # A newer version without the adapter.
    put_model(directory_store, {"org/own": {"checkpoints/ours.safetensors": noise(80 * KIB, 2)}}, model="own")
    restore(directory_store, "own", "--delete", *to)
    assert comfyui_lists(comfyui, "loras") == []
    assert comfyui_lists(comfyui, "vae") == ["ae.safetensors"], "what another restore put into a folder of its own"
    assert (comfyui / "checkpoints/ours.safetensors").read_bytes() == noise(80 * KIB, 2)
    after = read_tree(comfyui)
    assert {path: after[path] for path in before} == before, "the user's files"


def test_a_folder_of_gguf_files_for_llama_cpp(directory_store: Store, tmp_path: Path) -> None:
    made = {}
    for at, name in enumerate(("q4-00001-of-00002.gguf", "q4-00002-of-00002.gguf", "q8.gguf", "mmproj.gguf")):
        write_gguf(tmp_path / name, {f"blk.{at}.weight": Weights({"w": ("F16", (64, 64))}, Recipe(at))["w"]})
        made[name] = (tmp_path / name).read_bytes()
    repo = {f"Q4/{name}" if name.startswith("q4") else name: data for name, data in made.items()}
    put_model(directory_store, {"org/llm-GGUF": {**repo, "config.json": b"{}", "README.md": b"#"}}, model="llm")
    folder = tmp_path / "models"
    wanted = ("--include", "*q4*.gguf", "--include", "mmproj*", "--layout", "{name}", "--local-dir", str(folder))
    restore(directory_store, "llm", *wanted)
    # llama.cpp opens the first file of a split model, and finds the others beside it by their numbers.
    names = sorted(path.name for path in folder.iterdir() if path.name != ".cas")
    assert names == ["mmproj.gguf", "q4-00001-of-00002.gguf", "q4-00002-of-00002.gguf"]
    assert all((folder / name).read_bytes() == made[name] for name in names)
    restore(directory_store, "llm", "--include", "q8*", "--local-dir", str(folder), "--delete")
    assert [path.name for path in folder.iterdir() if path.name != ".cas"] == ["q8.gguf"]
