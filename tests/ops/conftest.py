"""A hub with small repos, a cache that the real client downloaded from it, and the command that publishes from both."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hub import FILES, Site, WatchedHub
from tests.support.models import REPO, write_tree
from tools.servers.hub import Hub


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
