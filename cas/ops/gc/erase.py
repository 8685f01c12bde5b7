"""Deleting for good: in a bucket that keeps versions a plain deletion only hides an object and frees nothing.

So every stored version of an object is deleted by its version id.
"""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Collection

from cas import events
from cas.bucket import Bucket, Stored
from cas.host import Limits
from cas.parallel import for_each
from cas.store.store import Store


class Eraser:
    """Deletes objects with all their stored versions, and counts them.

    Attributes:
        keeps_versions: whether the bucket keeps versions.
        objects: how many stored versions were deleted.
        freed: the bytes of those.
    """

    def __init__(self, store: Store, fresh_key: str, limits: Limits, listen: events.Listener = events.ignore) -> None:
        """Find out whether the bucket keeps versions.

        Args:
            store: to delete from.
            fresh_key: the key of an object that was written just now, by which the bucket tells.
            limits: how many requests are made at once.
            listen: is told the bytes of each deletion.
        """
        self._store, self._limits, self._listen = store, limits, listen
        self.keeps_versions = store.bucket.keeps_versions(fresh_key)
        self._counting = threading.Lock()
        self.objects = self.freed = 0

    def erase(
        self,
        folder: str,
        keys: Collection[str],
        *,
        before: datetime.datetime | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> int:
        """Delete objects, and return how many.

        Args:
            folder: that all the objects are below.
            keys: of the objects; those that do not exist any more are left out.
            before: spare the current version of an object that was written at this time or later, and delete only
                its older stored versions; None to spare none.
            check: called before each deletion; raises if deleting is not allowed any more.
        """
        if not keys:
            return 0
        bucket = self._store.bucket
        listed = bucket.stored(folder) if self.keeps_versions else Bucket.stored(bucket, folder)
        wanted, young = set(keys), set()
        if before is not None:
            young = {stored.key for stored in listed if stored.current and stored.modified >= before}
        chosen = [stored for stored in listed if stored.key in wanted and not (stored.current and stored.key in young)]
        gone: set[str] = set()

        def erase(stored: Stored) -> None:
            check()
            bucket.erase(stored)
            with self._counting:
                self.objects += 1
                self.freed += stored.size
                gone.add(stored.key)
            self._listen(events.Moved(stored.size))

        # Current versions go last: if one went first, an interrupt would leave an older, hidden version as the current.
        for current in (False, True):
            turn = [stored for stored in chosen if stored.current is current]
            if turn:
                for_each(erase, turn, threads=min(self._limits.requests, len(turn)))
        return len(gone - young)
