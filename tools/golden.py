"""Make a golden store: it has every kind of object that this release writes, and all later releases must restore it.

python -m tools.golden v3    makes tests/golden/v3; a golden store that exists is never made again
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

import numpy as np

import cas
from cas import host, refs
from cas.formats.digest import parse
from cas.formats.minisign import new_key
from cas.hub.source import RepoSource
from cas.refs.reference import Reference
from tools.models.gguf import write_gguf
from tools.models.safetensors import write_safetensors
from tools.models.torchzip import write_torch_zip
from tools.models.weights import Array, Recipe, Shapes, Weights

ROOT = Path(__file__).parents[1] / "tests" / "golden"
MODEL = "golden"
DEPLOYMENT = "eu-prod"
VARIANT = "fp16"
STORE_NAME = "s3://golden/store"
"""What the store is called in its signatures, wherever it lies."""

PUBLIC_KEY = "key.pub"
"""The file of the public key whose secret key signed all tags and pins, and was then forgotten."""

_WEIGHTS: Mapping[str, Shapes] = {
    "f32.safetensors": {"layer.weight": ("F32", (64, 96)), "layer.bias": ("F32", (96,))},
    "f16.safetensors": {"layer.weight": ("F16", (64, 96))},
    "bf16.safetensors": {"layer.weight": ("BF16", (64, 96))},
    "i64.safetensors": {"ids": ("I64", (4096,))},
    "nested/mixed.safetensors": {"w": ("F32", (40, 40)), "h": ("F16", (40, 40)), "n": ("I64", (3,))},
}


def make(folder: Path) -> None:
    """Write a store to `folder`/store, and the files that each restore must give to `folder`/expected.json.

    Its tags and pins are signed by a new key, whose public key is `folder`/key.pub.

    Args:
        folder: the folder to make.

    Raises:
        FileExistsError: the folder exists.
    """
    folder.mkdir()
    store = cas.open_store(str(folder / "store"))
    store.signer = key = new_key()
    (folder / PUBLIC_KEY).write_text(key.public.text(), encoding="utf-8")
    source = cas.Source((RepoSource("org/tiny"), RepoSource("other/vocoder", revision="v1.0")), files=("torch/*",))
    expected: dict[str, object] = {}
    # The name of the person who runs this does not belong into the repository.
    name_of_store = mock.patch.dict(os.environ, {"CAS_STORE_NAME": STORE_NAME})
    with mock.patch.object(host, "whoami", lambda: "golden"), name_of_store:
        for version in (1, 2):
            with tempfile.TemporaryDirectory() as name:
                home = Path(name)
                _write_home(home, version)
                tags = ("latest", f"v{version}")
                published = cas.publish(MODEL, source, store, tags=tags, cache_dir=home / "hub", download=False)
                files = described(home)
            names = [published.reference, *(f"{MODEL}:{tag}" for tag in tags)]
            if version == 1:
                pin = Reference(MODEL, deployment=DEPLOYMENT)
                refs.log_of(store, pin).append(parse(published.reference.split("@")[1]), "the first version")
                names.append(str(pin))
            expected |= dict.fromkeys(names, files)
        variant = cas.derive(MODEL, store, cast="float16", tags=(VARIANT,))
    with tempfile.TemporaryDirectory() as name:
        cas.restore(variant.reference, store, cache_dir=Path(name) / "hub")
        expected |= dict.fromkeys((variant.reference, f"{MODEL}:{VARIANT}"), described(Path(name)))
    shutil.rmtree(folder / "store" / "leases")
    text = json.dumps(expected, indent=1, ensure_ascii=False)
    (folder / "expected.json").write_text(text + "\n", encoding="utf-8")


def described(home: Path) -> dict[str, dict[str, object]]:
    """Return sha256 and size of each file that a restore gives: snapshots, refs, plain files; by path below HF_HOME."""
    found: dict[str, dict[str, object]] = {}
    for path in sorted(home.rglob("*")):
        relative = path.relative_to(home).as_posix()
        if path.is_file() and not {"blobs", "trees", ".cas", ".locks"} & set(relative.split("/")):
            data = path.read_bytes()
            found[relative] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    return found


def _write_home(home: Path, version: int) -> None:
    """Write a hub cache of two repos and a plain file; version 2 changes a tensor file and two text files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_tiny(folder / "tiny", version)
        tensors: dict[str, Array] = dict(Weights({"a": ("F32", (50, 20)), "b": ("F16", (9,))}, Recipe(2)))
        write_torch_zip(folder / "vocoder" / "pytorch_model.bin", tensors)
        _write_repo(home / "hub", "org/tiny", "main", folder / "tiny")
        _write_repo(home / "hub", "other/vocoder", "v1.0", folder / "vocoder")
    plain_file = home / "torch" / "hub" / "checkpoints" / "plain.pth"
    plain_file.parent.mkdir(parents=True)
    plain_file.write_bytes(bytes(range(256)) * 4)


def _write_tiny(folder: Path, version: int) -> None:
    for name, shapes in _WEIGHTS.items():
        changed = 1.0 if version > 1 and name.startswith("f16") else 0.0
        write_safetensors(folder / name, Weights(shapes, Recipe(1, changed)), {"version": "1"})
    # The tensor has over 8 MiB, so that it is cut; it repeats 64 values, so that its frames stay small.
    pattern = np.tile(np.arange(64, dtype=np.float32), (9 << 20) // 256)
    write_gguf(folder / "large.gguf", {"pattern": pattern, "small": np.ones(40, np.float16)})
    texts = {
        "README.md": f"version {version}\n",
        "copy of README.md": f"version {version}\n",
        "empty.txt": "",
        "конфиг/配置 🤗.json": '{"unicode": true}\n',
    }
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _write_repo(hub: Path, repo_id: str, ref: str, folder: Path) -> None:
    """Write the files of `folder` as a repo in a hub cache."""
    root = hub / f"models--{repo_id.replace('/', '--')}"
    files = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    blobs = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
    commit = hashlib.sha1(json.dumps(sorted((str(path), blob) for path, blob in blobs.items())).encode()).hexdigest()
    for path, data in files.items():
        blob, link = root / "blobs" / blobs[path], root / "snapshots" / commit / path
        for parent in (blob.parent, link.parent):
            parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        link.symlink_to(os.path.relpath(blob, link.parent))
    (root / "refs").mkdir(exist_ok=True)
    (root / "refs" / ref).write_text(commit)


def main() -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser("python -m tools.golden", description="Make a golden store of this release.")
    parser.add_argument("name", help="such as v3; the folder below tests/golden to make")
    folder = ROOT / parser.parse_args().name
    try:
        make(folder)
    except FileExistsError:
        print(f"{folder} is there: a golden store is never made again, make one beside it", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
