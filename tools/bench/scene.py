"""What every case runs against: one S3 server and one hub with the same model, and a client at the end of a link."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tools.bench.client import BUCKET, Client
from tools.bench.link import Link, Network, SameHost
from tools.models.f5tts import MODEL_FILE, VOCOS_FOLDER, f5_tts_shapes, hub_folder, shrunk
from tools.models.safetensors import trained_like
from tools.models.weights import Recipe, Weights, nbytes
from tools.servers.hub import Hub
from tools.servers.seaweed import Certificate, SeaweedFS
from tools.servers.sigv4 import s3_request

MODEL = "f5-tts"
FOLDER_MODEL = "f5-tts-folder"
WIDE_MODEL = "wide"
BFLOAT16_MODEL = "bfloat16"
REPOS = (MODEL_FILE.rsplit("/", 2)[0], VOCOS_FOLDER)
CHANGED = 0.15
NUDGE = 1e-3


class Scene:
    """The files and both servers, while the context lasts.

    Args:
        work: an empty folder for all files; the full size takes 15 GB.
        network: the network that server and clients are in.
        shrink: as for `tools.models.f5tts.hub_folder`.

    Attributes:
        models: folder with the raw files of the first version.
        hub_cache: hub cache of the publisher.
        facts: sizes of the model and what was stored, by name.
        authority: PEM file with the certificate authority, if there is TLS.
        server: the S3 server.
        hub: the hub.
        tls: whether the server has a certificate.
    """

    def __init__(self, work: Path, network: Network | SameHost, shrink: int = 1) -> None:
        self.work, self.network, self.shrink = work, network, shrink
        self.models = work / "models"
        self.hub_cache = work / "publisher" / "hub"
        self.facts: dict[str, float] = {}
        self.authority = work / "authority.pem"
        self._made: set[str] = set()

    def __enter__(self) -> Self:
        """Start the servers and write the first version's files to the hub's folder."""
        certificate = _certificate(self.work, self.network)
        self.tls = certificate is not None
        # Ports are chosen outside the server's namespace, where all seem free: they also name its sockets in /tmp.
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
        """Stop the servers; the files stay in the folder `work`."""
        self._undo.close()

    @property
    def _bind(self) -> str:
        return "0.0.0.0" if isinstance(self.network, Network) else "127.0.0.1"  # in a network of its own

    def at(self, link: Link) -> Client:
        """Return a client at the other end of a link."""
        return Client(self, link)

    def over(self, link: Link) -> Client:
        """Limit the network to the rate of a link, and return a client at its other end."""
        if link.rate:
            self.network.shape(link.rate)
        return self.at(link)

    def prepare(self, what: str) -> None:
        """Make something that a case needs, unless it was made before.

        Args:
            what: `version`, `files`, `folder`, `tuned`, `nudged`, `float16`, `wide` or `bfloat16`.
        """
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
        """Publish a model of chunks of the largest size only, which take the most memory; to a directory store, too."""
        shapes = shrunk({f"layer.{number}.weight": ("F32", (1024, 2048)) for number in range(64)}, self.shrink)
        trained_like(shapes, self.work / "wide" / "model.safetensors", seed=1)
        client.document("publish", *self.wide_words())
        client.document("publish", *self.wide_words(), "--store", self.directory)

    def _make_bfloat16(self, client: Client) -> None:
        """Publish as many bytes as F5-TTS has, in the type that most models of today have, and upload the raw file."""
        once = shrunk(f5_tts_shapes(), self.shrink)
        shapes = {f"{half}.{name}": ("BF16", shape) for half in ("a", "b") for name, (_, shape) in once.items()}
        folder = self.work / BFLOAT16_MODEL
        trained_like(shapes, folder / "model.safetensors", seed=2)
        document = client.document("publish", BFLOAT16_MODEL, "--dir", str(folder), "--as", f"org/{BFLOAT16_MODEL}")
        self.facts["bfloat16 plain bytes"] = (folder / "model.safetensors").stat().st_size
        self.facts["bfloat16 stored bytes"] = document["wire"]
        client.s5cmd("cp", f"{folder}/", f"s3://{BUCKET}/{BFLOAT16_MODEL}/")

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
        """Arguments of `cas publish` from the hub, through the publisher's own hub cache."""
        return [MODEL, *_each("--repo", REPOS), "--cache-dir", str(self.hub_cache)]

    def folder_words(self) -> list[str]:
        """Arguments of `cas publish` from a folder that is no hub cache."""
        return [FOLDER_MODEL, "--dir", str(self.models / REPOS[0]), "--as", REPOS[0]]

    def wide_words(self) -> list[str]:
        """Arguments of `cas publish` of the model of large chunks only."""
        return [WIDE_MODEL, "--dir", str(self.work / "wide"), "--as", "org/wide"]

    @property
    def directory(self) -> str:
        """The URL of a store in a directory."""
        return str(self.work / "store")

    @contextlib.contextmanager
    def fresh_bucket(self) -> Iterator[str]:
        """Make a bucket that is ready to store objects, yield its name, and delete it with its objects at the end."""
        name = f"fresh-{secrets.token_hex(4)}"
        with self.network.server():
            self.server.create_bucket(name)
            s3_request("PUT", self.server.endpoint, f"/{name}/ready", *self.server.credentials(), b"ready")
        try:
            yield name
        finally:
            with self.network.server():
                self.server.delete_bucket(name)


def _each(option: str, values: tuple[str, ...]) -> list[str]:
    return [word for value in values for word in (option, value)]


def _certificate(work: Path, network: Network | SameHost) -> Certificate | None:
    """Make a certificate for the server, signed by a new authority; return None without the package trustme."""
    try:
        import trustme
    except ImportError:
        return None
    authority = trustme.CA()
    authority.cert_pem.write_to_path(work / "authority.pem")
    issued = authority.issue_cert("127.0.0.1", "localhost")
    chain, key = work / "server.pem", work / "server.key"
    for certificate in issued.cert_chain_pems:
        certificate.write_to_path(chain, append=True)
    issued.private_key_pem.write_to_path(key)
    return Certificate(chain, key)
