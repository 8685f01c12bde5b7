"""Whether a GPU gets the same weights as from plain F5-TTS, and how soon: `python -m tools.bench.gpu`.

In this order:
    1. write F5-TTS v1 Base with random weights, publish it, cast it to float16
    2. restore both versions; load them as the worker does, and the published one with plain F5-TTS: every tensor must
       be the same to the bit
    3. speak twice with one seed: the audio must be the same
    4. start the worker with the model here, and print its phases with the card's name

It takes a few minutes, 8 GB of disk and no network, and runs on the processor where there is no GPU. It ends with exit
code 1 when something is not the same. Where the environments of tools/worker_env.py are not installed, `--python` and
`--plain-python` name interpreters with the same packages.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tools import worker_env
from tools.bench.programs.tensors import Digests
from tools.models.f5tts import VOCOS_FOLDER, hub_folder
from tools.servers.hub import Hub

_ROOT = Path(__file__).parents[2]
_PROGRAMS = "tools.bench.programs"
_MODEL = "f5-tts"
_WHICH = "import json, torch; print(json.dumps('cuda' if torch.cuda.is_available() else 'cpu'))"
_VERSIONS = {"published": _MODEL, "float16": f"{_MODEL}:fp16"}


def main(words: list[str] | None = None) -> int:
    """Do all steps, print what was found, write it as JSON, and return the exit code.

    Args:
        words: the command line; by default that of this process.
    """
    parser = argparse.ArgumentParser(prog="python -m tools.bench.gpu", description=__doc__)
    parser.add_argument("--store", help="a store that has f5-tts:latest and f5-tts:fp16, instead of one made here")
    parser.add_argument("--python", type=Path, help="interpreter of the worker's environment")
    parser.add_argument("--plain-python", type=Path, help="interpreter of plain F5-TTS's full environment")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="by default the GPU where there is one")
    parser.add_argument("--json", type=Path, default=Path("build/bench-gpu.json"))
    options = parser.parse_args(words)
    python = options.python or worker_env.python(worker_env.folder())
    plain_python = options.plain_python or worker_env.python(worker_env.reference_folder())
    with tempfile.TemporaryDirectory(prefix="cas-gpu-") as name:
        work = Path(name)
        store = options.store or _make_store(work)
        homes = {version: _restore(reference, store, work / version) for version, reference in _VERSIONS.items()}
        device = options.device or _run(python, "-c", _WHICH, work=work)
        hubs = [str(home / "hub") for home in homes.values()]
        ours = _run(python, "-m", f"{_PROGRAMS}.gpu_ours", device, *hubs, work=work)
        plain = _run(plain_python, "-m", f"{_PROGRAMS}.gpu_plain", device, *_plain_files(homes["published"]), work=work)
        start = _run(
            python,
            *("-m", f"{_PROGRAMS}.worker_ready"),
            work=work,
            CAS_STORE=store,
            CAS_MODEL=_MODEL,
            CAS_CACHE_DIRS=str(homes["published"]),
            CAS_RECEIPT="false",
        )
    wrong = list(differences(ours, plain))
    print(f"{ours['device']}: {len(plain['model']) + len(plain['vocoder'])} tensors compared, twice")
    steps = ", ".join(f"{step} {seconds:.2f} s" for step, seconds in start.items() if isinstance(seconds, float))
    print(f"a start with the model here: {steps}")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"device": ours["device"], "start": start, "wrong": wrong}, indent=1) + "\n")
    for text in wrong:
        print(f"WRONG: {text}", file=sys.stderr)
    return bool(wrong)


def differences(ours: Mapping[str, Any], plain: Mapping[str, Digests]) -> Iterator[str]:
    """Yield in words what is not the same.

    Args:
        ours: what programs/gpu_ours.py found.
        plain: what programs/gpu_plain.py found.
    """
    for version, digest in (("published", 1), ("float16", 2)):
        for network, theirs in plain.items():
            mine: Digests = ours[version][network]
            both = ({name: (found[0], found[digest]) for name, found in tensors.items()} for tensors in (mine, theirs))
            left, right = both
            wrong = sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))
            if wrong:
                yield f"{version}: {len(wrong)} tensors of the {network} are not those of plain F5-TTS, as {wrong[0]}"
    first, second = ours["audio"]
    if first != second:
        yield "one seed gave two audios"
    if not ours["loudest"]:
        yield "the audio is silent"


def _make_store(work: Path) -> str:
    """Publish F5-TTS v1 Base with random weights, as float32 and float16; return the store's URL."""
    store = str(work / "store")
    hub_folder(work / "models")
    with Hub(work / "models") as hub:
        repos = (word for repo in ("SWivid/F5-TTS", VOCOS_FOLDER) for word in ("--repo", repo))
        _cas(store, "publish", _MODEL, *repos, "--cache-dir", str(work / "publisher/hub"), HF_ENDPOINT=hub.url)
    _cas(store, "derive", _MODEL, "--cast", "float16", "--tag", "fp16")
    return store


def _restore(reference: str, store: str, home: Path) -> Path:
    _cas(store, "restore", reference, "--cache-dir", str(home / "hub"))
    return home


def _cas(store: str, *words: str, **variables: str) -> None:
    command = [sys.executable, "-m", "cas", "-q", "--store", store, *words]
    subprocess.run(command, check=True, cwd=_ROOT, env={**os.environ, **variables}, stdout=subprocess.DEVNULL)


def _plain_files(home: Path) -> tuple[str, str, str]:
    """Return the arguments of programs/gpu_plain.py: weights, the vocoder's folder, and a config or nothing."""
    hub = home / "hub"
    (weights,) = hub.glob("models--SWivid--F5-TTS/snapshots/*/F5TTS_v1_Base/*.safetensors")
    (vocoder,) = hub.glob("models--charactr--vocos-mel-24khz/snapshots/*")
    config = weights.with_name("config.yaml")
    return str(weights), str(vocoder), str(config) if config.exists() else ""


def _run(python: Path, *words: str, work: Path, **variables: str) -> Any:
    """Run a program, and return the JSON document that is its last line."""
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "HOME": str(work), "HF_HUB_OFFLINE": "1", **variables}
    done = subprocess.run([python, *words], check=True, cwd=_ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
