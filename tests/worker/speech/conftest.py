"""A tiny F5-TTS, published, derived and restored; and programs that run in the worker's environment."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.processes import run_cas
from tests.worker.speech.recordings import speech, wav
from tools.servers.hub import Hub

ROOT = Path(__file__).parent.parent.parent.parent
CLIENTS = "tests.worker.speech.clients"

Client = Callable[..., Any]


class Hubs(NamedTuple):
    """Hub caches with a tiny F5-TTS: as published, and its float16 variant."""

    full: Path
    half: Path


@pytest.fixture(scope="session")
def client(worker_python: Path) -> Client:
    """Runs one of the programs in `clients` and gives its answer."""

    def run(name: str, *words: str | Path) -> Any:
        done = subprocess.run(
            [worker_python, "-m", f"{CLIENTS}.{name}", *words],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def warm_client(worker_python: Path, hubs: Hubs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """As `client`, in forks of one process that has imported F5-TTS: each import takes six CPU seconds.

    Not for clients that use a GPU, which a fork cannot do once its parent has looked for one, nor for those that watch
    what is imported.
    """
    variables = {"PYTHONPATH": str(ROOT), "HF_HUB_CACHE": str(hubs.full), "HF_HUB_OFFLINE": "1"}
    folder = tmp_path_factory.mktemp("clients")
    with (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(
            [worker_python, "-m", CLIENTS],
            cwd=ROOT,
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )

    def run(name: str, *words: str | Path) -> Any:
        assert process.stdin and process.stdout
        output = folder / name
        process.stdin.write(json.dumps([f"{CLIENTS}.{name}", str(output), *map(str, words)]) + "\n")
        process.stdin.flush()
        code = process.stdout.readline()
        assert code == "0\n", code + (folder / "errors").read_text()[-4000:] + _read(Path(f"{output}.err"))[-4000:]
        return json.loads(output.read_text())

    with process:
        yield run


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.fixture(scope="session")
def hubs(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Hubs:
    """The model goes the way of a real one: hub, publish, derive, restore."""
    folder = tmp_path_factory.mktemp("tiny-f5")

    def run(*words: str, **env: str) -> None:
        done = run_cas("--store", str(folder / "store"), *words, env={"PYTHONPATH": str(ROOT), **env})
        assert done.returncode == 0, done.stderr

    with Hub(tiny_models) as hub:
        repos = ("--repo", "SWivid/F5-TTS", "--repo", "charactr/vocos-mel-24khz")
        run("publish", "f5-tts", *repos, HF_ENDPOINT=hub.url, HF_HOME=str(folder / "hf"))
    run("derive", "f5-tts", "--cast", "float16", "--tag", "fp16")
    for reference, name in (("f5-tts", "full"), ("f5-tts:fp16", "half")):
        run("restore", reference, "--cache-dir", str(folder / name / "hub"))
    return Hubs(folder / "full/hub", folder / "half/hub")


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings, each of which F5-TTS shortens in another way."""
    folder = tmp_path_factory.mktemp("recordings")
    files = {
        "a short one": wav(speech(3)),
        "quiet stereo": wav((speech(4, 16_000) // 4).repeat(2), 16_000, channels=2),
        "long with pauses": wav(speech(15, 44_100, pause_every=4, pause=1.4), 44_100),
        "long with breaths": wav(speech(20, 22_050), 22_050),
        "long without a pause": wav(speech(14, 8_000, pause_every=99), 8_000),
    }
    for name, data in files.items():
        (folder / f"{name}.wav").write_bytes(data)
    return folder
