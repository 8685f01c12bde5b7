"""What a prune did, or would do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PrunedVersion:
    """A version that was removed from this machine.

    Attributes:
        reference: names the version for ever.
        last_use: when it was last used, such as `2026-11-28T14:20:00Z`.
        freed: bytes of the files that were removed with it.
        files: how many those are.
    """

    reference: str
    last_use: str
    freed: int
    files: int


@dataclass(frozen=True, slots=True)
class KeptVersion:
    """A version that stays on this machine.

    Attributes:
        reference: names the version for ever.
        last_use: as that of `PrunedVersion`.
        reason: why it stays, in words.
    """

    reference: str
    last_use: str
    reason: str


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune did.

    Attributes:
        hub: the hub cache.
        dry_run: True when nothing was removed, and the figures say what a prune would do.
        removed: the versions that were removed, in this order.
        kept: the versions that stay, those used least recently first.
        freed: bytes of all removed files.
        free: bytes that ordinary users have free on the cache's file system afterwards.
    """

    hub: Path
    dry_run: bool
    removed: tuple[PrunedVersion, ...]
    kept: tuple[KeptVersion, ...]
    freed: int
    free: int
