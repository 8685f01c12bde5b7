"""A client of the scene's servers, which runs and measures commands at the other end of a link."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tools.bench.link import Link, Traffic
from tools.bench.measure import Run, empty_page_cache, run, settle

if TYPE_CHECKING:
    from tools.bench.scene import Scene

BUCKET = "bench"
"""The bucket that commands use unless they name another one."""

_SETTINGS = ("AWS_", "CAS_", "HF_", "HUGGINGFACE_", "PYTHONPATH", "RCLONE_", "S3_", "RUNAI_", "SSL_CERT_")


@dataclasses.dataclass(frozen=True)
class Measured:
    """One run over a link.

    Attributes:
        run: the process's figures.
        traffic: bytes that the client's card moved, None on a loopback device.
        document: the JSON that the command printed, empty for commands that print none.
        extra: figures that only this case has, by name.
    """

    run: Run
    traffic: Traffic | None = None
    document: dict[str, Any] = dataclasses.field(default_factory=dict)
    extra: dict[str, float] = dataclasses.field(default_factory=dict)


class Client:
    """Run commands at the other end of a link.

    Args:
        scene: the files and servers.
        link: the link to the servers.
        cold: every command finds an empty page cache; else memory is made available before it.

    Attributes:
        endpoint: URL of the S3 server over the link.
        environment: variables of all commands.
    """

    def __init__(self, scene: Scene, link: Link, *, cold: bool = False) -> None:
        self.scene, self.link, self.cold = scene, link, cold
        host, server = scene.network.host(link), scene.server
        self.endpoint = f"https://{host}:{server.tls_port}" if link.tls else f"http://{host}:{server.port}"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
        # The settings of `hf download` against huggingface.co, without Xet, which only huggingface.co has.
        hub = {
            "HF_ENDPOINT": f"http://{host}:{urlsplit(scene.hub.url).port}",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": f"{scene.work}/home",
        }
        authority = {"AWS_CA_BUNDLE": str(scene.authority), "SSL_CERT_FILE": str(scene.authority)} if link.tls else {}
        self.environment = inherited | server.env(BUCKET) | {"AWS_ENDPOINT_URL": self.endpoint} | hub | authority

    def cas(self, *words: str, store: str | None = None) -> Measured:
        """Measure one `cas` command, and return its JSON document with the figures.

        Args:
            words: the command's arguments.
            store: URL of the store, by default the one in the bucket.
        """
        environment = {"CAS_STORE": store} if store else {}
        return self.run([sys.executable, "-m", "cas", "-q", "--json", *words], environment)

    def s5cmd(self, *words: str) -> Measured:
        """Measure one `s5cmd` command against the S3 server."""
        return self.run([program("s5cmd"), "--endpoint-url", self.endpoint, *words])

    def python(self, script: str, *words: str, packages: str | None = None) -> Measured:
        """Measure one of the programs in `tools/bench/programs`.

        Args:
            script: name of the program without `.py`.
            words: its arguments.
            packages: its PYTHONPATH, by default none.
        """
        command = [sys.executable, str(Path(__file__).parent / "programs" / f"{script}.py"), *words]
        return self.run(command, {"PYTHONPATH": packages} if packages else None)

    def run(self, command: list[str], environment: dict[str, str] | None = None) -> Measured:
        """Measure any command; the caller has removed or emptied its outputs.

        Args:
            command: name or path of the program, then its arguments.
            environment: variables to add or replace.
        """
        out = self.scene.work / "out.json"
        network = self.scene.network
        if self.cold:
            empty_page_cache(self.scene.work / "seaweed")
        else:
            settle(self.scene.work, (1 << 31) // self.scene.shrink**2)
        before = network.traffic()
        with network.client(self.link):
            measured = run(command, self.environment | (environment or {}), out)
        traffic = network.traffic() - before if self.link.rate else None
        text = out.read_text(errors="replace")
        return Measured(measured, traffic, json.loads(text) if text.startswith("{") else {})

    def document(self, *words: str) -> dict[str, Any]:
        """Run a `cas` command without measuring it, and return its JSON document."""
        out = self.scene.work / "out.json"
        with self.scene.network.client(self.link):
            run([sys.executable, "-m", "cas", "-q", "--json", *words], self.environment, out)
        document: dict[str, Any] = json.loads(out.read_text())
        return document

    def empty(self, name: str) -> str:
        """Make an empty folder of this name, removing what it held, and return its path."""
        folder = self.scene.work / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return str(folder)


def program(name: str) -> str:
    """Return the path of a program beside this Python, or else its name, to be found through PATH."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else name
