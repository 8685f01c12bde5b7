"""What a restore returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cas.formats.digest import short
from cas.store.fetch import Second


@dataclass(frozen=True, slots=True)
class RestoredVersion:
    """One of the versions of a restore.

    Attributes:
        reference: names it for ever.
        snapshots: the snapshot directory of each repo, by repo id; none in a folder of real files.
        total: plain bytes of its chosen files.
    """

    reference: str
    snapshots: dict[str, Path]
    total: int

    def __repr__(self) -> str:
        return f"<RestoredVersion {short(self.reference)}, {self.total:,} bytes>"


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did.

    Attributes:
        reference: names the version for ever: `model@blake3:<64 hex>`; of several versions all names, after commas.
        hub: the hub cache (HF_HUB_CACHE); None for a restore into a folder that uses none.
        home: HF_HOME; None where `hub` is.
        snapshots: the snapshot directory of each repo, by repo id; none in a folder of real files. Where versions have
            a repo in common, that of the last one.
        total: plain bytes of the chosen files.
        fetched: plain bytes fetched from the store.
        wire: bytes of their frames, which crossed the connection.
        seconds: wall time.
        changed: False when every file was complete and verified before.
        dry_run: True when nothing was written, and the figures say what a restore would do.
        reused: plain bytes copied from other files on this machine.
        reused_from: the same, by the seed in which the files were found.
        second_requests: the requests for chunks whose first body was far behind: how many, how many of them brought
            the last byte of a chunk, and how many bytes arrived twice.
        versions: each version in the order of the references.
        folder: the folder of a restore into one, else None.
        files: the size in bytes of each file in that folder, by its path there.
        linked: how many bytes of these are links to, or clones of, files in the cache that this restore made.
        removed: paths of files in that folder that earlier restores left, and that were removed.
    """

    reference: str
    hub: Path | None
    home: Path | None
    snapshots: dict[str, Path]
    total: int
    fetched: int
    wire: int
    seconds: float
    changed: bool
    dry_run: bool = False
    reused: int = 0
    reused_from: dict[str, int] = field(default_factory=dict)
    second_requests: Second = field(default_factory=Second)
    versions: tuple[RestoredVersion, ...] = ()
    folder: Path | None = None
    files: dict[str, int] = field(default_factory=dict)
    linked: int = 0
    removed: tuple[str, ...] = ()

    def __repr__(self) -> str:
        where = self.folder or self.hub
        done = "would fetch" if self.dry_run else "fetched"
        return f"<Restored {short(self.reference)} in {where}: {self.total:,} bytes, {self.fetched:,} {done}>"
