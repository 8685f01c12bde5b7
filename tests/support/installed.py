"""Two versions of one repo, restored into one hub cache one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cas
from cas.local.register import Register
from cas.store.store import Store
from tests.support.models import KIB, REPO, noise, publish_tree, read_tree, write_tree

SHARED = noise(50 * KIB, 1)
V1 = {"config.json": b'{"version": 1}', "shared.bin": SHARED, "sub/one.bin": noise(30 * KIB, 2)}
V2 = {"config.json": b'{"version": 2}', "shared.bin": SHARED, "sub/two.bin": noise(40 * KIB, 3)}


@dataclass
class Machine:
    """A store with m:v1 and m:v2, and a hub cache.

    Attributes:
        store: the store.
        hub: the hub cache.
        v1: exact reference to m:v1.
        v2: exact reference to m:v2.
    """

    store: Store
    hub: Path
    v1: str
    v2: str

    @property
    def repo(self) -> Path:
        """The directory of REPO in the cache."""
        return self.hub / f"models--{REPO.replace('/', '--')}"

    @property
    def register(self) -> Register:
        return Register(self.hub)

    def restore(self, reference: str, **options: object) -> cas.Restored:
        return cas.restore(reference, self.store, **{"cache_dir": self.hub, **options})  # type: ignore[arg-type]

    def loaded(self, hub: Path | None = None) -> dict[str, bytes]:
        """Return what `main` of REPO consists of in the cache, or in a view of it."""
        repo = (hub or self.hub) / self.repo.name
        return read_tree(repo / "snapshots" / (repo / "refs/main").read_text())


def installed(store: Store, hub: Path, folder: Path) -> Machine:
    """Publish both versions, and restore nothing.

    Args:
        store: gets the versions.
        hub: the hub cache, not there yet.
        folder: where the files to publish are written.
    """
    store.create()
    v1 = publish_tree(store, write_tree(folder / "v1", V1), tags=["v1"]).reference
    v2 = publish_tree(store, write_tree(folder / "v2", V2), tags=["v2"]).reference
    assert v1 and v2
    return Machine(store, hub, v1, v2)
