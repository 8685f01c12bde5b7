"""Real hub clients of several versions, and a hub on this machine that records the tokens it is sent."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

from cas.formats.digest import hex_of
from tests.support.models import REPO, Files
from tests.support.processes import run_cas, start_process
from tools.servers import hub as hub_tool
from tools.servers.hub import Hub

HUBS = ("0.36", "1.33", "2.4")


ROOT = Path(__file__).parent.parent.parent


def ask_hub(version: str, code: str, cache: Path, **env: str) -> object:
    """Run Python code with one version of huggingface_hub on a hub cache, and return what it assigned to `found`."""
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
    """Start a download by one version of huggingface_hub; the process prints the snapshot's folder."""
    command = [str(ROOT / ".venv/hubs" / version / "bin/python"), "-c", f"{_HUB}\nprint(snapshot_download({repo!r}))"]
    return start_process(
        command, {"HF_HUB_CACHE": str(cache), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    )


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


_found_right: set[tuple[object, ...]] = set()


def check_offline(cache: Path, files: Files, repo: str = REPO, versions: tuple[str, ...] = HUBS) -> None:
    """Check that old and new clients find these files in the cache without any hub.

    A client is not asked twice in a run about caches that are the same to it: it takes a second to start.
    """
    name = next(iter(files))
    seen = (_seen_by_clients(cache), repo, tuple(sorted(files.items())))
    for version in versions:
        if (version, *seen) in _found_right:
            continue
        found = ask_hub(version, _OFFLINE.format(repo=repo, name=name), cache, HF_HUB_OFFLINE="1")
        assert found == [True, True, [], {path: data.hex() for path, data in files.items()}], version
        _found_right.add((version, *seen))


def _seen_by_clients(cache: Path) -> frozenset[tuple[object, ...]]:
    """Name, mode, link and content of everything in a cache; of our own records, which no client reads, no content."""
    found: set[tuple[object, ...]] = set()
    for path in cache.rglob("*"):
        link = os.readlink(path) if path.is_symlink() else None
        is_read = link is None and path.is_file() and ".cas" not in path.parts
        content = hex_of(path.read_bytes()) if is_read else None
        found.add((path.relative_to(cache).as_posix(), path.lstat().st_mode, link, content))
    return frozenset(found)


FILES = {
    "config.json": b'{"a": 1}',
    "empty.txt": b"",
    "onnx/deep/model.onnx": b"onnx" * 1000,
    "vocab.txt": b"a\nb\n",
    "weights.bin": bytes(range(256)) * 5000,
}


class WatchedHub(Hub):
    """A hub with gated repos that records the tokens it is sent.

    Attributes:
        tokens: the values of the Authorization header; None for a request without one.
        gated: ids of repos that nobody may read.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.tokens: set[str | None] = set()
        self.gated: set[str] = set()
        watched = self

        class Handler(hub_tool._Handler):
            def do_GET(self) -> None:  # noqa: N802 (http.server gives the name)
                watched.tokens.add(self.headers.get("Authorization"))
                if any(repo in self.path for repo in watched.gated):
                    self._reply(HTTPStatus.FORBIDDEN, b"{}", {"X-Error-Code": "GatedRepo"})
                else:
                    super().do_GET()

            do_HEAD = do_GET  # noqa: N815 (as above)

        self._server.RequestHandlerClass = Handler


@dataclass
class Site:
    """A hub, a hub cache and a store, and `cas` commands that use them.

    Attributes:
        hub: the hub on this machine.
        cache: the hub cache.
        store: the folder of the store.
        env: variables for the commands, beside those of `variables`.
    """

    hub: Hub
    cache: Path
    store: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def repo(self) -> Path:
        """The folder of REPO in the cache."""
        return self.cache / f"models--{REPO.replace('/', '--')}"

    def variables(self) -> dict[str, str]:
        fixed = {"HF_ENDPOINT": self.hub.url, "HF_HUB_CACHE": str(self.cache), "CAS_STORE": str(self.store)}
        return {**fixed, "HF_HUB_DISABLE_TELEMETRY": "1", **self.env}

    def cas(self, *words: str) -> subprocess.CompletedProcess[str]:
        return run_cas(*words, env=self.variables())
