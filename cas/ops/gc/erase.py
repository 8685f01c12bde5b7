"""Deleting for good: on storage that keeps versions a deletion only hides, so each stored version goes by its id."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Collection

from cas import events
from cas.bucket import Bucket, Stored
from cas.config import Limits
from cas.parallel import for_each
from cas.store.store import Store


class Eraser:
    """Erases objects, and counts them. objects, freed: how many stored versions, and their bytes."""

    def __init__(self, store: Store, witness: str, limits: Limits, listen: events.Listener = events.ignore) -> None:
        """witness: the key of an object that was written just now."""
        self._store, self._limits, self._listen = store, limits, listen
        self._versions = store.bucket.keeps_versions(witness)
        self._counting = threading.Lock()
        self.objects = self.freed = 0

    def erase(
        self,
        folder: str,
        keys: Collection[str],
        *,
        before: datetime.datetime | None = None,
        allowed: Callable[[], None] = lambda: None,
    ) -> int:
        """Erases those of `keys`, all below `folder`, that were written before `before`; returns how many.

        Of an object that was written over since, its older stored versions go, too. allowed: is asked before each
        deletion, and raises when it must not be.
        """
        if not keys:
            return 0
        bucket = self._store.bucket
        listed = bucket.stored(folder) if self._versions else Bucket.stored(bucket, folder)
        wanted, young = set(keys), set()
        if before is not None:
            young = {one.key for one in listed if one.current and one.modified >= before}
        # The current version last: were it to go first, an interrupt would leave a hidden one as the current.
        doomed = [one for one in listed if one.key in wanted and (one.key not in young or not one.current)]
        gone: set[str] = set()

        def erase(one: Stored) -> None:
            allowed()
            bucket.erase(one)
            with self._counting:
                self.objects += 1
                self.freed += one.size
                gone.add(one.key)
            self._listen(events.Moved(one.size))

        for current in (False, True):
            turn = [one for one in doomed if one.current is current]
            if turn:
                for_each(erase, turn, threads=min(self._limits.requests, len(turn)))
        return len(gone - young)
