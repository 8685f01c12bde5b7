"""A tiny F5-TTS, published, derived and restored; and programs that run in the worker's environment."""

from __future__ import annotations

import contextlib
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


class FineTunes(NamedTuple):
    """Models of other owners, and what plain F5-TTS says with them.

    plain: the answer of the client `fine_tunes_plain`.
    file: the same as JSON.
    recording: the reference.
    """

    plain: Any
    file: Path
    recording: Path


@pytest.fixture(scope="session")
def client(worker_python: Path) -> Client:
    """Runs one of the programs in `clients` and gives its answer."""
    return lambda name, *words: answer(worker_python, name, *words)


def answer(python: Path, name: str, *words: str | Path, **variables: str) -> Any:
    """Run one of the programs in `clients` in an environment, and return what it prints."""
    done = subprocess.run(
        [python, "-m", f"{CLIENTS}.{name}", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def warm_client(worker_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """As `client`, in forks of one process that has imported what the worker does, which takes two CPU seconds.

    There is no program on its PATH, and what the image does without is hidden from it. Not for clients that use a GPU,
    which a fork cannot do once its parent has looked for one, nor for those that watch what is imported.
    """
    with _forking(worker_python, "worker", tmp_path_factory.mktemp("clients"), PATH="") as run:
        yield run


@pytest.fixture(scope="session")
def plain_client(reference_python: Path, hubs: Hubs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """As `warm_client`, of a process that has imported plain F5-TTS, which takes six CPU seconds, and its hub cache."""
    variables = {"HF_HUB_CACHE": str(hubs.full), "HF_HUB_OFFLINE": "1"}
    with _forking(reference_python, "plain", tmp_path_factory.mktemp("plain"), **variables) as run:
        yield run


@pytest.fixture(scope="session")
def plain_f5(plain_client: Client, recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What plain F5-TTS makes of everything that ours is compared with."""
    return plain_client("plain", "cpu", recordings, tmp_path_factory.mktemp("generated"))


@contextlib.contextmanager
def _forking(python: Path, what: str, folder: Path, **variables: str) -> Iterator[Client]:
    variables["OMP_NUM_THREADS"] = "1"  # threads that wait for each other take twice the time for a tiny network
    with (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(
            [python, "-m", CLIENTS, what],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
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


@pytest.fixture(scope="session")
def fine_tunes(plain_client: Client, tmp_path_factory: pytest.TempPathFactory) -> FineTunes:
    folder = tmp_path_factory.mktemp("fine-tunes")
    recording, file = folder / "recording.wav", folder / "plain.json"
    recording.write_bytes(wav(speech(1.5)))
    plain = plain_client("fine_tunes_plain", recording, folder)
    file.write_text(json.dumps(plain))
    return FineTunes(plain, file, recording)
