"""What the tests of restore share: models made to measure, processes that die or wait, and real old clients."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import cas
from cas.bucket import Bucket
from cas.bucket import Entry
from cas.bucket import Kind
from cas.formats.digest import Buffer
from cas.formats.digest import hex_of
from cas.formats.frame import Encoder
from cas.local.hf_cache import blob_hash
from cas.formats.manifest import ChunkRef
from cas.formats.manifest import Manifest
from cas.formats.manifest import PlainFile
from cas.formats.manifest import Repo
from cas.formats.manifest import RepoFile
from cas.formats.manifest import now
from cas.refs.reference import Reference
from cas.refs.reference import log_of
from cas.store.store import Store
from tests.conftest import REPO, read_tree, snapshot
from tools.servers.serving import ClosableServer

COMMIT = "c" * 40
KIB = 1024
HUBS = ("0.36", "1.33", "2.4")
ROOT = Path(__file__).parent.parent.parent

Files = Mapping[str, bytes]


def put_model(
    store: Store,
    repos: Mapping[str, Files],
    plain: Files | None = None,
    *,
    model: str = "m",
    commit: str = COMMIT,
    chunk: int = 64 * KIB,
) -> Manifest:
    """Stores a manifest of these files, cut every `chunk` bytes, as `model:latest`: many chunks from few bytes."""
    store.create()
    encoder, seen = Encoder(), set()

    def chunks(data: bytes) -> tuple[ChunkRef, ...]:
        refs = []
        for at in range(0, len(data), chunk):
            piece = data[at : at + chunk]
            refs.append(ChunkRef(hex_of(piece), len(piece)))
            if refs[-1].digest not in seen:
                store.put_frame(refs[-1].digest, encoder.encode(piece))
                seen.add(refs[-1].digest)
        return tuple(refs)

    def repo_file(path: str, data: bytes) -> RepoFile:
        return RepoFile(path, len(data), sha256(data).hexdigest(), chunks(data))

    made = Manifest(
        model=model,
        created=now(),
        created_by="test",
        repos=tuple(
            Repo(repo, "model", commit, ("main",), tuple(repo_file(path, data) for path, data in files.items()))
            for repo, files in repos.items()
        ),
        files=tuple(PlainFile(path, len(data), chunks(data)) for path, data in (plain or {}).items()),
    )
    log_of(store, Reference(model, tag="latest")).append(store.put_manifest(made), reason="test")
    return made


def noise(size: int, seed: int = 0) -> bytes:
    """The same incompressible bytes every time."""
    return b"".join(sha256(b"%d %d" % (seed, at)).digest() for at in range(0, size, 32))[:size]


def check(restored: cas.Restored, files: Files, repo: str = REPO) -> None:
    """The snapshot holds exactly these files, every blob is what its name says, and nothing of ours is left over."""
    assert read_tree(snapshot(restored, repo)) == files
    root = snapshot(restored, repo).parent.parent
    check_blobs(root)
    assert list(root.glob(".cas/parts/*.part")) == []
    assert (root / "refs/main").read_text() == snapshot(restored, repo).name


def check_blobs(root: Path) -> None:
    """No blob in a repo's folder is partial or wrong under its final name, nor is any snapshot file or ref."""
    for blob in root.glob("blobs/*"):
        data = blob.read_bytes()
        running = blob_hash(blob.name, len(data))
        running.update(data)
        assert running.hexdigest() == blob.name
    for path in root.glob("snapshots/**/*"):
        assert path.is_dir() or path.resolve().parent.name == "blobs", f"{path} is no whole file of a repo"
    for ref in root.glob("refs/**/*"):
        assert re.fullmatch("[0-9a-f]{40}", ref.read_text()), ref


def until(condition: Callable[[], object], timeout: float = 30) -> None:
    """Waits for what another process is about to do."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def cas_command(*words: str, before: str = "") -> list[str]:
    """The command line of the real command. before: Python to run in the process first, to break what it stands on."""
    return [sys.executable, "-c", f"{before}\nfrom cas.cli import main\nmain()", *words]


def start_cas(*words: str, before: str = "", env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Starts the command in a process of its own."""
    return _start(cas_command(*words, before=before), env or {})


# Every call by which a restore changes the disk counts as one step; the process kills itself before the chosen one.
DIE_AT = """
import os, signal, sys, threading
left = [int(sys.argv.pop(1))]
counting = threading.Lock()
def counted(function):
    def call(*args, **kwargs):
        with counting:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return call
for name in ("open", "write", "pwrite", "ftruncate", "fsync", "rename", "symlink", "link", "mkdir", "unlink"):
    setattr(os, name, counted(getattr(os, name)))
def tell_and_end(code, end=os._exit):
    print("steps", -left[0], file=sys.stderr, flush=True)
    end(code)
os._exit = tell_and_end
"""


def die_at(step: int, store: Store, cache: Path, reference: str = "m") -> subprocess.CompletedProcess[str]:
    """Restores in a process that kills itself before it changes the disk for the `step`-th time; 0: never."""
    words = (str(step), "--store", store.url, "-q", "restore", reference, "--cache-dir", str(cache))
    return subprocess.run(cas_command(*words, before=DIE_AT), capture_output=True, text=True, timeout=60, check=False)


_started: list[subprocess.Popen[str]] = []


def _start(command: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        command, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    _started.append(process)
    return process


def end_started() -> None:
    """Kills the processes that are still running."""
    while _started:
        with _started.pop() as process:
            process.kill()


def outcomes(processes: list[subprocess.Popen[str]]) -> list[cas.Restored]:
    """What restores started with --json did; all must end well."""
    found = []
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        found.append(cas.Restored(**json.loads(out)))
    return found


class Counted(Bucket):
    """A bucket that remembers which chunks were asked for."""

    def __init__(self, inner: Bucket) -> None:
        self.url, self._inner = inner.url, inner
        self.chunks: list[str] = []

    def get(self, key: str, limit: int) -> Buffer:
        if key.startswith("chunks/"):
            self.chunks.append(key.rpartition("/")[2])
        return self._inner.get(key, limit)

    def head(self, key: str) -> Entry:
        return self._inner.head(key)

    def put(self, key: str, data: Buffer, kind: Kind, *, overwrite: bool = False) -> bool:
        return self._inner.put(key, data, kind, overwrite=overwrite)

    def list(self, prefix: str) -> list[Entry]:
        return self._inner.list(prefix)

    def delete(self, key: str) -> None:
        self._inner.delete(key)


class _Files(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, SlowStore)
        if "/chunks/" in self.path:
            server.chunks += 1
            if server.chunks > server.limit:
                server.released.wait()
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


class SlowStore(ClosableServer):
    """A store's directory over http that gives `limit` chunks and then stalls until it is released."""

    def __init__(self, store: Store, limit: int) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(_Files, directory=store.url))  # type: ignore[arg-type]
        self.chunks, self.limit = 0, limit
        self.released = threading.Event()

    @property
    def url(self) -> str:
        """For --store."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def stalling(self) -> bool:
        """Whether somebody waits for a chunk."""
        return self.chunks > self.limit


@contextlib.contextmanager
def slow_store(store: Store, limit: int) -> Iterator[SlowStore]:
    """Serves a directory store as SlowStore does."""
    server = SlowStore(store, limit)
    server.start()
    try:
        yield server
    finally:
        server.released.set()
        server.stop()


def ask_hub(version: str, code: str, cache: Path, **env: str) -> object:
    """Runs Python with huggingface_hub of that version on a hub cache; what it assigned to `found`."""
    ran = subprocess.run(
        [ROOT / ".venv/hubs" / version / "bin/python", "-c", f"{_HUB}\n{code}\nprint(json.dumps(found))"],
        env={**os.environ, "HF_HUB_CACHE": str(cache), "HF_HUB_DISABLE_PROGRESS_BARS": "1", **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def start_hub(version: str, repo: str, cache: Path, endpoint: str) -> subprocess.Popen[str]:
    """Starts a download by huggingface_hub of that version, which prints the snapshot's folder."""
    command = [str(ROOT / ".venv/hubs" / version / "bin/python"), "-c", f"{_HUB}\nprint(snapshot_download({repo!r}))"]
    return _start(command, {"HF_HUB_CACHE": str(cache), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_PROGRESS_BARS": "1"})


_HUB = """
import json, os, sys
from pathlib import Path
from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download
def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes().hex() for p in Path(folder).rglob("*") if p.is_file()}
"""

_OFFLINE = """
folder = snapshot_download({repo!r}, local_files_only=True)
by_commit = snapshot_download({repo!r}, revision=Path(folder).name, local_files_only=True)
one = hf_hub_download({repo!r}, {name!r})
found = [folder == by_commit, one == os.path.join(folder, {name!r}), [str(w) for w in scan_cache_dir().warnings],
         tree(folder)]
"""


def check_offline(cache: Path, files: Files, repo: str = REPO, versions: tuple[str, ...] = HUBS) -> None:
    """Old and new clients find these files in the cache without any hub."""
    name = next(iter(files))
    for version in versions:
        found = ask_hub(version, _OFFLINE.format(repo=repo, name=name), cache, HF_HUB_OFFLINE="1")
        assert found == [True, True, [], {path: data.hex() for path, data in files.items()}], version
