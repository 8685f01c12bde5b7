"""Reads the refs that name the version of a boot; where keys are trusted, it believes only what they signed.

    a pin, or a tag?      read its last entry, which a trusted key must have signed
                          compare it with the newest one that any cache directory has seen: an older one is refused
    it names a version?   that one is wanted from now on, and no other one, whatever becomes of its manifest
    the model is here?    keep in every cache directory which entry was seen: no start waits for their disks

What was seen is kept for a boot that fails, too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cas.events import SignedEntry
from cas.refs.reference import Reference, last_move, log_of, signed_entry
from cas.refs.reflog import Move, Ref
from cas.store.signing import Signing
from worker.boot.environment import hub_of
from worker.boot.settings import Settings
from worker.model.condition import Condition

if TYPE_CHECKING:
    from cas.local.trusted_keys import Trust
    from cas.store.store import Store


class RefReader:
    """Reads refs for one boot.

    Attributes:
        trust: the keys that must have signed an entry; None where no keys are trusted, or no store may be asked.
        paths: the cache directories, once it is known which of them can be believed.
        store_name: of the store whose refs count; empty until that is open, and where no keys are trusted.
        signed: the entry that says which version is wanted; None where no keys are trusted, or no entry was read.
    """

    def __init__(self, settings: Settings) -> None:
        """Read which keys are trusted, before any store is opened: an error there must end the boot.

        Args:
            settings: what the environment asks for.

        Raises:
            CasError: as `Signing.configure_signing`.
        """
        signing = Signing()
        if settings.enabled:
            signing.configure_signing()
        self.trust: Trust | None = signing.trust
        self.paths: Sequence[Path] = ()
        self.store_name = ""
        self.signed: SignedEntry | None = None
        self._seen: list[tuple[Store, Ref, Move]] = []

    def opened(self, store: Store) -> None:
        """Note the name of the first store that could be opened: it is the one whose refs count."""
        if self.trust:
            self.store_name = self.store_name or store.name

    def wanted(self, store: Store, condition: Condition) -> Reference:
        """Return the reference by which a store says which version is wanted: a digest, where keys are trusted.

        Args:
            store: where the refs are.
            condition: gets the choice, and the version that a signed entry names.

        Raises:
            SignatureError: keys are trusted, and the entry in force is not signed, or is older than what was seen here.
            CasError: as `cas.choose`, and as `RefLog.last_move`.
        """
        hubs = [hub_of(path) for path in self.paths]
        choice = condition.choose(os.environ, store, hubs)
        parsed = choice.parsed
        assert parsed is not None, "a lock file says without a store which version it holds"
        if self.trust is not None and self.signed is None:
            if choice.pin is not None:
                self._note(store, choice.pin, choice.move)
            if parsed.digest is None:
                log = log_of(store, parsed)
                condition.named = self._note(store, log.ref, last_move(log, hubs, keep=False))
        return Reference(parsed.model, digest=condition.named) if condition.named else parsed

    def keep(self) -> None:
        """Keep in the cache directories which entries were seen; those that cannot be written keep nothing."""
        while self._seen:
            from cas.refs.floors import keep_seen

            store, ref, move = self._seen.pop()
            for path in self.paths:
                keep_seen(hub_of(path), store, str(ref), move)

    def _note(self, store: Store, ref: Ref, move: Move | None) -> str | None:
        """Note an entry that was verified; return the version (64 hex) that it names, None for none."""
        if move is None:
            return None
        self._seen.append((store, ref, move))
        self.signed = signed_entry(ref, move, store)
        return move.entry.digest
