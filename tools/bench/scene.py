"""What every contender finds: one S3 server and one hub with the same model, and a client at the end of a link."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from tools.bench.link import Link, Network, SameHost, Traffic
from tools.bench.measure import Run, run, settle
from tools.models.f5tts import MODEL_FILE, VOCOS_FOLDER, f5_tts_shapes, hub_folder, shrunk
from tools.models.safetensors import trained_like
from tools.models.weights import Recipe, Weights, nbytes
from tools.servers.hub import Hub
from tools.servers.seaweed import Certificate, SeaweedFS
from tools.servers.sigv4 import s3_request

BUCKET = "bench"
MODEL = "f5-tts"
FOLDER_MODEL = "f5-tts-folder"
WIDE_MODEL = "wide"
REPOS = (MODEL_FILE.rsplit("/", 2)[0], VOCOS_FOLDER)
CHANGED = 0.15
NUDGE = 1e-3
_OURS = ("AWS_", "CAS_", "HF_", "HUGGINGFACE_", "PYTHONPATH", "RCLONE_", "S3_", "RUNAI_", "SSL_CERT_")


class Scene:
    """The files and both servers, while the context lasts.

    work: an empty folder for all of it; full size takes 15 GB. shrink: as for `tools.models.f5tts.hub_folder`.
    """

    def __init__(self, work: Path, network: Network | SameHost, shrink: int = 1) -> None:
        self.work, self.network, self.shrink = work, network, shrink
        self.models = work / "models"
        self.hub_cache = work / "publisher" / "hub"
        self.facts: dict[str, float] = {}
        self.authority = work / "authority.pem"
        self._made: set[str] = set()

    def __enter__(self) -> Self:
        """Starts the servers and makes the first version: published, and in the bucket as plain files."""
        certificate = _certificate(self.work, self.network)
        self.tls = certificate is not None
        # Its ports are chosen here, not in a network where all seem free: sockets in /tmp have names by port.
        self.server = SeaweedFS(self.work / "seaweed", bind=self._bind, certificate=certificate)
        with self.network.server(), contextlib.ExitStack() as stack:
            stack.enter_context(self.server)
            self.server.create_bucket(BUCKET)
            hub_folder(self.models, shrink=self.shrink)
            self.hub = stack.enter_context(Hub(self.models, host=self._bind))
            self._undo = stack.pop_all()
        self.facts["plain bytes"] = sum(path.stat().st_size for path in self.models.rglob("*") if path.is_file())
        return self

    def __exit__(self, *exc: object) -> None:
        """Ends the servers."""
        self._undo.close()

    @property
    def _bind(self) -> str:
        return "0.0.0.0" if isinstance(self.network, Network) else "127.0.0.1"  # in a network of its own

    def at(self, link: Link) -> Client:
        """A client at the other end of a link."""
        return Client(self, link)

    def over(self, link: Link) -> Client:
        """A client at the other end of a link, which is as fast as it should be from now on."""
        if link.rate:
            self.network.shape(link.rate)
        return self.at(link)

    def prepare(self, what: str) -> None:
        """Makes what a case needs, once: `version`, `files`, `folder`, `tuned`, `nudged`, `float16`, `wide`."""
        if what not in self._made:
            getattr(self, f"_make_{what}")(self.at(Link("preparation", "preparation")))
            self._made.add(what)

    def _make_version(self, client: Client) -> None:
        document = client.document("publish", *self.publish_words())
        self.facts["stored bytes"] = document["wire"]
        self.facts["chunks"] = document["chunks"]

    def _make_files(self, client: Client) -> None:
        client.s5cmd("cp", f"{self.models}/", f"s3://{BUCKET}/raw/")

    def _make_folder(self, client: Client) -> None:
        client.document("publish", *self.folder_words())

    def _make_wide(self, client: Client) -> None:
        """Nothing but chunks of the largest size, which take the most memory; in a directory store, too."""
        shapes = shrunk({f"layer.{number}.weight": ("F32", (1024, 2048)) for number in range(64)}, self.shrink)
        trained_like(shapes, self.work / "wide" / "model.safetensors", seed=1)
        client.document("publish", *self.wide_words())
        client.document("publish", *self.wide_words(), "--store", self.directory)

    def _make_float16(self, client: Client) -> None:
        self.prepare("version")
        client.document("derive", MODEL, "--cast", "float16", "--tag", "fp16")
        restored = client.document("restore", f"{MODEL}:fp16", "--cache-dir", client.empty("float16"))
        self.facts["float16 plain bytes"] = restored["total"]
        self.facts["float16 stored bytes"] = restored["wire"]
        client.empty("float16")

    def _make_tuned(self, client: Client) -> None:
        self._make_successor("tuned", client, changed_fraction=CHANGED)
        weights = Weights(shrunk(f5_tts_shapes(), self.shrink), Recipe(0, CHANGED))
        changed = sum(nbytes(*weights.shapes[name]) for name in weights.changed)
        self.facts["tuned: bytes of changed tensors"] = changed
        stored, uploaded = self.facts["tuned: stored bytes"], self.facts["tuned: uploaded bytes"]
        self.facts["tuned: stored bytes of changed tensors"] = stored * min(1.0, changed / uploaded)

    def _make_nudged(self, client: Client) -> None:
        self._make_successor("nudged", client, nudge=NUDGE)

    def _make_successor(self, tag: str, client: Client, *, changed_fraction: float = 0, nudge: float = 0) -> None:
        self.prepare("version")
        root, cache = self.work / tag, self.work / f"{tag}-cache"
        hub_folder(root, changed_fraction=changed_fraction, nudge=nudge, shrink=self.shrink)
        with self.network.server(), Hub(root) as hub:
            client.environment["HF_ENDPOINT"] = hub.url
            words = [MODEL, *_each("--repo", REPOS), "--cache-dir", str(cache), "--tag", tag]
            document = client.document("publish", *words)
        self.facts[f"{tag}: uploaded bytes"] = document["uploaded"]
        self.facts[f"{tag}: stored bytes"] = document["wire"]
        shutil.rmtree(root)
        shutil.rmtree(cache)

    def publish_words(self) -> list[str]:
        """Arguments of a publish from the hub, through the publisher's own hub cache."""
        return [MODEL, *_each("--repo", REPOS), "--cache-dir", str(self.hub_cache)]

    def folder_words(self) -> list[str]:
        """Arguments of a publish from a plain folder."""
        return [FOLDER_MODEL, "--dir", str(self.models / REPOS[0]), "--as", REPOS[0]]

    def wide_words(self) -> list[str]:
        """Arguments of a publish of large chunks only."""
        return [WIDE_MODEL, "--dir", str(self.work / "wide"), "--as", "org/wide"]

    @property
    def directory(self) -> str:
        """The URL of a store in a directory."""
        return str(self.work / "store")

    @contextlib.contextmanager
    def fresh_bucket(self) -> Iterator[str]:
        """The name of a bucket that is ready to take objects, and is gone with what it holds when the context ends."""
        name = f"fresh-{secrets.token_hex(4)}"
        with self.network.server():
            self.server.create_bucket(name)
            s3_request("PUT", self.server.endpoint, f"/{name}/ready", *self.server.credentials(), b"ready")
        try:
            yield name
        finally:
            with self.network.server():
                self.server.delete_bucket(name)


@dataclasses.dataclass(frozen=True)
class Measured:
    """One run over a link.

    traffic: what its card moved, None on a loopback device. document: what it printed, for commands that print JSON.
    extra: figures that only this case has.
    """

    run: Run
    traffic: Traffic | None = None
    document: dict[str, Any] = dataclasses.field(default_factory=dict)
    extra: dict[str, float] = dataclasses.field(default_factory=dict)


class Client:
    """Runs commands at the other end of a link."""

    def __init__(self, scene: Scene, link: Link) -> None:
        self.scene, self.link = scene, link
        host, server = scene.network.host(link), scene.server
        self.endpoint = f"https://{host}:{server.tls_port}" if link.tls else f"http://{host}:{server.port}"
        plain = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        # As `hf download` would be against huggingface.co, less what only that has.
        hub = {
            "HF_ENDPOINT": f"http://{host}:{urlsplit(scene.hub.url).port}",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": f"{scene.work}/home",
        }
        authority = {"AWS_CA_BUNDLE": str(scene.authority), "SSL_CERT_FILE": str(scene.authority)} if link.tls else {}
        self.environment = plain | server.env(BUCKET) | {"AWS_ENDPOINT_URL": self.endpoint} | hub | authority

    def cas(self, *words: str, store: str | None = None) -> Measured:
        """Measures one `cas` command; its document comes with it."""
        environment = {"CAS_STORE": store} if store else {}
        return self.run([sys.executable, "-m", "cas", "-q", "--json", *words], environment)

    def s5cmd(self, *words: str) -> Measured:
        """Measures one `s5cmd` command."""
        return self.run([program("s5cmd"), "--endpoint-url", self.endpoint, *words])

    def python(self, script: str, *words: str, packages: str | None = None) -> Measured:
        """Measures one of `tools.bench.clients`. packages: a PYTHONPATH, which none has otherwise."""
        command = [sys.executable, str(Path(__file__).parent / "clients" / f"{script}.py"), *words]
        return self.run(command, {"PYTHONPATH": packages} if packages else None)

    def run(self, command: list[str], environment: dict[str, str] | None = None) -> Measured:
        """Measures any command, all of whose outputs are gone or emptied by now."""
        out = self.scene.work / "out.json"
        network = self.scene.network
        settle(self.scene.work, (1 << 31) // self.scene.shrink**2)
        before = network.traffic()
        with network.client(self.link):
            measured = run(command, self.environment | (environment or {}), out)
        traffic = network.traffic() - before if self.link.rate else None
        text = out.read_text(errors="replace")
        return Measured(measured, traffic, json.loads(text) if text.startswith("{") else {})

    def document(self, *words: str) -> dict[str, Any]:
        """What a `cas` command says; unmeasured."""
        out = self.scene.work / "out.json"
        with self.scene.network.client(self.link):
            run([sys.executable, "-m", "cas", "-q", "--json", *words], self.environment, out)
        document: dict[str, Any] = json.loads(out.read_text())
        return document

    def empty(self, name: str) -> str:
        """The path of a folder with nothing in it."""
        folder = self.scene.work / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return str(folder)


def program(name: str) -> str:
    """The path of a program beside this Python, or its name, for PATH to find."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else name


def _each(option: str, values: tuple[str, ...]) -> list[str]:
    return [word for value in values for word in (option, value)]


def _certificate(work: Path, network: Network | SameHost) -> Certificate | None:
    """A certificate for the server, by an authority of this run's own; None without the package trustme."""
    try:
        import trustme
    except ImportError:
        return None
    authority = trustme.CA()
    authority.cert_pem.write_to_path(work / "authority.pem")
    issued = authority.issue_cert("127.0.0.1", "localhost")
    chain, key = work / "server.pem", work / "server.key"
    for part in issued.cert_chain_pems:
        part.write_to_path(chain, append=True)
    issued.private_key_pem.write_to_path(key)
    return Certificate(chain, key)
