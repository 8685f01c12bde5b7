"""A place where workers boot: a local hub, a store that is empty at first, and two cache directories."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cas
from cas.formats.digest import hex_of
from tests.support.models import noise, read_tree, write_tree
from tests.support.processes import run_cas
from tools.servers.hub import Hub
from worker.boot import messages

ROOT = Path(__file__).parent.parent.parent
SPEECH, VOCODER = "SWivid/F5-TTS", "charactr/vocos-mel-24khz"
FILES = {
    SPEECH: {
        "F5TTS_v1_Base/model_1250000.safetensors": noise(600_000, 1),
        "F5TTS_v1_Base/vocab.txt": b"a\nb\n",
    },
    VOCODER: {"config.yaml": b"a: 1\n", "pytorch_model.bin": noise(90_000, 2)},
}
TOTAL = sum(len(data) for files in FILES.values() for data in files.values())
HURRIED = Path(__file__).with_name("hurried")
"""In PYTHONPATH it shortens the pauses of a process."""
AWAY = "http://127.0.0.1:9"
"""Where nobody answers."""


@dataclass
class Ran:
    """A boot that has ended. receipt: its line, None when it wrote none."""

    code: int
    receipt: Any
    out: str
    err: str

    @property
    def warnings(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("worker: warning: ")]

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("worker: error: ")]


@dataclass
class Station:
    """A hub, the URL of a store, and the folder in which the cache directories `a` and `b` are.

    published: a folder for all stations, with a copy of each new directory store that one of them published into.
    """

    hub: Hub
    store: str
    folder: Path
    published: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def directories(self) -> tuple[Path, Path]:
        return self.folder / "a", self.folder / "b"

    def variables(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        fixed = {
            "CAS_STORE": self.store,
            "CAS_CACHE_DIRS": ":".join(map(str, self.directories)),
            "CAS_LEASE_SECONDS": "5",
            "HF_ENDPOINT": self.hub.url,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "PYTHONPATH": f"{HURRIED}{os.pathsep}{ROOT}",
        }
        return {**os.environ, **fixed, **self.env, **(env or {})}

    def start(self, *words: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Starts `python WORDS` as a worker of this station."""
        command = [sys.executable, *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, env=self.variables(env), cwd="/", stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )

    def boot(self, **env: str) -> Ran:
        """Boots from somewhere else than the repository."""
        return ended(self.start("-m", "worker.boot", env=env))

    def publish(self, *tags: str, store: str | None = None, files: Mapping[str, Mapping[str, bytes]] = FILES) -> str:
        """What the hub's repos hold, or `files` instead, as a version of f5-tts; its reference."""
        for repo, content in files.items():
            write_tree(self.hub.root / repo, content)
        target = store or self.store
        if target.startswith("/") and not os.path.exists(target):
            return self._published_before(target, tags, files)
        return self._publish(target, tags)

    def _published_before(self, target: str, tags: tuple[str, ...], files: Mapping[str, Mapping[str, bytes]]) -> str:
        """Copy the store that the same publish made first; most tests begin with the same one."""
        content = [[repo, name, hex_of(data)] for repo, tree in files.items() for name, data in tree.items()]
        made = self.published / hex_of(json.dumps([content, tags]).encode())
        if not made.exists():
            reference = self._publish(target, tags)
            shutil.copytree(target, made / "store")
            (made / "reference").write_text(reference)
            return reference
        shutil.copytree(made / "store", target)
        for repo in files:
            folder = self.hub.folder(repo)
            assert folder is not None
            folder.head()  # from now on the hub knows this commit, as it does after a download
        return (made / "reference").read_text()

    def _publish(self, target: str, tags: tuple[str, ...]) -> str:
        cache = self.folder / f"publisher-{os.urandom(4).hex()}"
        words = [
            "publish",
            "f5-tts",
            "--source",
            str(ROOT / "manifests/sources/f5-tts.toml"),
            "--cache-dir",
            str(cache),
        ]
        words += [word for tag in tags or ("latest",) for word in ("--tag", tag)]
        done = run_cas(*words, "--store", target, env=self.variables())
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def check(self, ran: Ran, files: Mapping[str, Mapping[str, bytes]] = FILES) -> None:
        """The boot went well, and every file is where it says, byte for byte."""
        assert ran.code == 0, ran.err
        for repo, content in files.items():
            assert read_tree(Path(ran.receipt["snapshots"][repo])) == content

    def versions(self) -> list[str]:
        return cas.open_store(self.store).digests("f5-tts")


def ended(process: subprocess.Popen[str], timeout: float = 90) -> Ran:
    """Waits for a boot; its receipt is the only line it writes."""
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        process.kill()
    lines = out.splitlines()
    assert len(lines) <= 1, out
    return Ran(process.returncode, json.loads(lines[0]) if lines else None, out, err)


def whole_output(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Of a process whose standard input must stay open while it works."""
    assert process.stdout and process.stderr
    answer(process)
    out, err = process.stdout.read(), process.stderr.read()
    process.wait(timeout=60)
    close(process)
    return out, err


def answer(process: subprocess.Popen[str]) -> None:
    """As a worker that can use the model."""
    assert process.stdin
    process.stdin.write('{"steps": []}\n')
    process.stdin.flush()


def close(process: subprocess.Popen[str]) -> None:
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()


def last_message(out: str) -> messages.Restored | messages.Failed:
    """How a restoring process ended; what it says before is of files."""
    *files, last = (messages.decode(line.encode()) for line in out.splitlines())
    assert all(isinstance(message, messages.Expected | messages.Arrived) for message in files)
    assert isinstance(last, messages.Restored | messages.Failed)
    return last
