"""A store to publish to and collect in, and the truth about what it then holds."""

from __future__ import annotations

import datetime
import time
from dataclasses import dataclass, field
from pathlib import Path

import cas
from cas.formats.frame import Decoder
from cas.formats.manifest import ChunkRef
from cas.ops.gc import collector
from cas.ops.gc.collector import Collected
from cas.refs import reflog
from cas.store.store import Store
from tests.support.models import publish_tree, write_tree

AT_ONCE = datetime.timedelta(0)


@dataclass
class Models:
    """A store to publish to and collect in."""

    store: Store
    folder: Path
    made: dict[str, str] = field(default_factory=dict)

    def publish(self, note: str, model: str = "m", tag: str = "latest") -> str:
        """Publishes a version of two files, one of which all versions share; returns its digest (64 hex)."""
        tree = write_tree(self.folder / "tree", {"shared.bin": b"s" * 5000, "own.bin": note.encode() * 1000})
        self.made[note] = publish_tree(self.store, tree, model, tags=(tag,)).reference[-64:]
        return self.made[note]

    def collect(self, grace: datetime.timedelta = AT_ONCE, **options: object) -> Collected:
        """One run of the collector, by when all that is there is older than its second."""
        self.settle()
        return collector.gc(self.store, grace=grace, **options)  # type: ignore[arg-type]

    def settle(self) -> None:
        """Waits until the server's clock, which may tell seconds only, says a later time."""
        if self.store.url.startswith("s3:"):
            time.sleep(1.1)

    def versions(self) -> set[str]:
        """Digests of all manifests."""
        return {entry.key[-69:-5] for entry in self.store.bucket.list("manifests")}

    def chunks(self) -> set[str]:
        """Digests of all chunks."""
        return {entry.key[-64:] for entry in self.store.bucket.list("chunks")}

    def needed(self, *digests: str, model: str = "m") -> set[str]:
        """Digests of the chunks of versions."""
        return {chunk for digest in digests for chunk in self.store.get_manifest(model, digest).chunks()}

    def objects(self) -> dict[str, object]:
        """Everything in the store but what collectors and publishers tell each other."""
        listed = self.store.bucket.list("")
        return {one.key: (one.size, one.modified) for one in listed if not one.key.startswith(("gc/", "leases/"))}

    def restored(self, reference: str) -> bytes:
        """The file of its own that a version has."""
        home = self.folder / f"restored-{time.monotonic_ns()}"
        done = cas.restore(reference, self.store, cache_dir=home)
        return Path(*done.snapshots.values(), "own.bin").read_bytes()


def dangling(store: Store, *, keep: int = reflog.KEPT) -> list[str]:
    """What is wrong with the versions that refs and receipts name: chunks that are missing or damaged."""
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
