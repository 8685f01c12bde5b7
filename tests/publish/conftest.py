"""A hub with small repos, a cache that the real client downloaded from it, and the command that publishes from both."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import pytest

from tests.conftest import run_cas, write_tree
from tools.servers import hub as hub_tool
from tools.servers.hub import Hub

REPO = "org/model"
FILES = {
    "config.json": b'{"a": 1}',
    "empty.txt": b"",
    "onnx/deep/model.onnx": b"onnx" * 1000,
    "vocab.txt": b"a\nb\n",
    "weights.bin": bytes(range(256)) * 5000,
}


class WatchedHub(Hub):
    """A hub that remembers the tokens it was sent, and has gated repos."""

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
    """A hub, a hub cache and a store, and `cas` commands among them."""

    hub: Hub
    cache: Path
    store: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def repo(self) -> Path:
        """The repo's folder in the cache."""
        return self.cache / f"models--{REPO.replace('/', '--')}"

    def variables(self) -> dict[str, str]:
        fixed = {"HF_ENDPOINT": self.hub.url, "HF_HUB_CACHE": str(self.cache), "CAS_STORE": str(self.store)}
        return {**fixed, "HF_HUB_DISABLE_TELEMETRY": "1", **self.env}

    def cas(self, *words: str) -> subprocess.CompletedProcess[str]:
        return run_cas(*words, env=self.variables())


@pytest.fixture(scope="session")
def downloaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The root of a hub, and a hub cache into which the real client has downloaded REPO from it."""
    home = tmp_path_factory.mktemp("downloaded")
    root, cache = home / "root", home / "hub"
    write_tree(root / REPO, FILES)
    with Hub(root) as hub:
        done = Site(hub, cache, home / "store").cas("publish", "m", "--repo", REPO)
    assert done.returncode == 0, done.stderr
    return root, cache


@pytest.fixture
def site(downloaded: tuple[Path, Path], tmp_path: Path) -> Iterator[Site]:
    """A running hub, an empty cache and no store yet."""
    shutil.copytree(downloaded[0], tmp_path / "root")
    with WatchedHub(tmp_path / "root") as hub:
        yield Site(hub, tmp_path / "hub", tmp_path / "store")


@pytest.fixture
def full(site: Site, downloaded: tuple[Path, Path]) -> Site:
    """As `site`, with the repo in the cache as huggingface_hub left it."""
    shutil.copytree(downloaded[1], site.cache, symlinks=True)
    return site
