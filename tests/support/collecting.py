"""A store to publish to and to collect in, and a check of what it then holds that does not use the collector."""

from __future__ import annotations

import datetime
import time
from dataclasses import dataclass, field
from pathlib import Path

import cas
from cas.formats.frame import Decoder
from cas.formats.manifest import ChunkRef
from cas.ops.gc import collector
from cas.ops.gc.result import Collected
from cas.refs import reflog
from cas.store.store import Store
from tests.support.models import publish_tree, write_tree

AT_ONCE = datetime.timedelta(0)


@dataclass
class Models:
    """A store to publish to and to collect in.

    Attributes:
        store: the store.
        folder: a directory for trees to publish and caches to restore into.
        made: digests (64 hex) of the versions published, by their notes.
    """

    store: Store
    folder: Path
    made: dict[str, str] = field(default_factory=dict)

    def publish(self, note: str, model: str = "m", tag: str = "latest") -> str:
        """Publish a version of two files, one of which all versions share; return its digest (64 hex)."""
        tree = write_tree(self.folder / "tree", {"shared.bin": b"s" * 5000, "own.bin": note.encode() * 1000})
        self.made[note] = publish_tree(self.store, tree, model, tags=(tag,)).reference[-64:]
        return self.made[note]

    def collect(self, grace: datetime.timedelta = AT_ONCE, **options: object) -> Collected:
        """Run the collector once everything in the store is older than the present second of the server's clock."""
        self.settle()
        return collector.gc(self.store, grace=grace, **options)  # type: ignore[arg-type]

    def settle(self) -> None:
        """Wait until the server's clock, which may count whole seconds only, shows a later time."""
        if self.store.url.startswith("s3:"):
            time.sleep(1.1)

    def versions(self) -> set[str]:
        """Return the digests (64 hex) of all manifests."""
        return {entry.key[-69:-5] for entry in self.store.bucket.list("manifests")}

    def chunks(self) -> set[str]:
        """Return the digests (64 hex) of all chunks."""
        return {entry.key[-64:] for entry in self.store.bucket.list("chunks")}

    def needed(self, *digests: str, model: str = "m") -> set[str]:
        """Return the digests (64 hex) of the chunks that versions need."""
        return {chunk for digest in digests for chunk in self.store.get_manifest(model, digest).chunks()}

    def objects(self) -> dict[str, object]:
        """Return size and time of every object except leases, sweeps and condemned sets."""
        listed = self.store.bucket.list("")
        return {
            entry.key: (entry.size, entry.modified) for entry in listed if not entry.key.startswith(("gc/", "leases/"))
        }

    def restored(self, reference: str) -> bytes:
        """Restore a version, and return the content of the file that no other version has."""
        home = self.folder / f"restored-{time.monotonic_ns()}"
        done = cas.restore(reference, self.store, cache_dir=home)
        return Path(*done.snapshots.values(), "own.bin").read_bytes()


def dangling(store: Store, *, keep: int = reflog.KEPT) -> list[str]:
    """Return a line for each version that a ref or a receipt names and that cannot be read whole."""
    wanted: dict[tuple[str, str], str] = {}
    for log in reflog.logs(store):
        for move in reversed(log.history(keep)):
            if move.entry.digest is None:
                break
            wanted[log.ref.model, move.entry.digest] = str(log.ref)
    receipts = {entry.key.split("-")[-2] for entry in store.bucket.list("receipts")}
    for entry in store.bucket.list("manifests"):
        model, digest = entry.key.removesuffix(".json").split("/")[1:]
        if digest in receipts:
            wanted[model, digest] = "a receipt"
    decoder, wrong = Decoder(), []
    checked: set[str] = set()
    for (model, digest), why in wanted.items():
        try:
            for chunk, size in store.get_manifest(model, digest).chunks().items():
                if chunk not in checked:
                    store.get_chunk(ChunkRef(chunk, size), decoder)
                    checked.add(chunk)
        except cas.CasError as error:
            wrong.append(f"{model}@{digest[:12]} ({why}): {error}")
    return wrong
