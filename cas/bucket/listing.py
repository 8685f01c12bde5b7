"""Rules of every listing: it goes on, it ends, and a foreign name in it is left out.

A listing is a server's word: its pages may repeat for ever, and its keys may be such as no program of ours can read
back. obstore and boto3 both list through these rules.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from cas.bucket.base import Entry
from cas.errors import CannotResume, ListingUnbounded
from cas.formats.printable import printable

PAGE = 1000
"""Keys of a page, as S3 servers send them at most."""

MAX_PAGES = 500
"""Pages of the longest listing that is read, PAGE keys each; they take about 0.3 GB of memory."""

MAX_SECONDS = 600.0
"""How long one listing may take in all."""

_NAMED = 100  # foreign names that a bucket remembers, and so names once

# Below INFO's threshold unless somebody asks: the command line shows it with -v.
_logger = logging.getLogger("cas.bucket")


class ListingProgress:
    """Follows one listing page by page, and ends one that does not go on or does not end."""

    def __init__(self, what: str, *, seconds: float = MAX_SECONDS) -> None:
        """Begin now.

        Args:
            what: the listing and the server, named in errors.
            seconds: how long the listing may take.
        """
        self._what, self._seconds = what, seconds
        self._begun = time.monotonic()
        self.pages = self._keys = 0
        self._last, self._last_components = "", [""]
        self._tokens: set[str] = set()

    def page(self, keys: Sequence[str], token: str = "") -> None:
        """Note one page.

        Keys come in the order of their bytes, or, from servers that keep folders, component by component.

        Args:
            keys: of the page, as the server sent them; empty where they may repeat.
            token: names the next page; empty for none, and where the client keeps it to itself.

        Raises:
            ListingUnbounded: the page brings no key beyond those before it, or the listing is too long.
        """
        self.pages += 1
        self._keys += len(keys) or PAGE  # a page may be a short one
        if keys:
            if not self.is_beyond(keys):
                raise self._error("a page brings no key beyond the last one")
            self._last = max(*keys, self._last)
            self._last_components = max(*(key.split("/") for key in keys), self._last_components)
        if token and token in self._tokens:
            raise self._error("the server gave the same continuation token twice")
        self._tokens.add(token)
        if self._keys > MAX_PAGES * PAGE:
            raise self._error(f"it has more than {MAX_PAGES:,} pages, or {MAX_PAGES * PAGE:,} keys")
        if (spent := time.monotonic() - self._begun) > self._seconds:
            raise self._error(f"it did not end within {spent:.0f} s")

    def is_beyond(self, keys: Sequence[str]) -> bool:
        """Return whether any of the keys stands behind all keys before."""
        return max(keys) > self._last or max(key.split("/") for key in keys) > self._last_components

    def _error(self, why: str) -> ListingUnbounded:
        return ListingUnbounded(
            f"{self._what}: the listing was given up ({why}, on page {self.pages:,}): "
            "check the endpoint, and what is between it and this machine"
        )


class Listing:
    """One listing of a folder as far as it has come, which can go on behind its last key.

    Attributes:
        prefix: the folder, without slashes at its ends.
        last: the last key that was listed, to go on behind it; empty for none.
        stream: the client's own iterator of batches of keys; None before the first, and after an error.
        batch: keys that the stream is asked for at a time. A stream that fails in the middle of a batch drops what it
            has of it, so a batch that spans many short pages of a failing server would never be complete.
    """

    def __init__(self, prefix: str, where: str, foreign: ForeignNames) -> None:
        """Begin a listing.

        Args:
            prefix: the folder, without slashes at its ends.
            where: the bucket's URL and endpoint, named in errors.
            foreign: is told of the objects that are left out.
        """
        self.prefix, self._where, self._foreign = prefix, where, foreign
        self._progress = ListingProgress(f"list {prefix or '/'} in {where}")
        self.last = ""
        self.stream: Any = None
        self.batch = PAGE
        self._batches, self._in_vain = 0, 0
        self._is_resumed = False

    def begin_stream(self, stream: Any) -> Any:
        """Note the stream that brings the next batches, and return it."""
        self.stream, self._batches, self._is_resumed = stream, 0, bool(self.last)
        return stream

    def break_off(self) -> None:
        """Forget the stream, which failed; the next one brings smaller batches if this happens again and again."""
        self.stream = None
        if self._batches:
            self._in_vain = 0
            self.batch = min(self.batch * 10, PAGE) if self._batches >= 10 else self.batch
        elif self._in_vain:
            self.batch = max(self.batch // 10, 1)
        self._in_vain += 1

    def add(self, page: Sequence[Entry]) -> list[Entry]:
        """Add some objects in the order of the server; return those that are ours and were not listed before.

        Raises:
            CannotResume: the stream was to go on behind a key, and does not.
            ListingUnbounded: the listing does not go on, or does not end.
        """
        if self._is_resumed:
            new = [entry for entry in page if self.is_new(entry)]
            if page and not new:
                raise CannotResume(f"list {self.prefix or '/'} in {self._where}: the server cannot go on behind a key")
            page = new
        self._progress.page([entry.key for entry in page])
        self._batches += 1
        self._in_vain = 0
        self._is_resumed = False
        if page:
            self.last = page[-1].key
        below = f"{self.prefix}/" if self.prefix else ""
        found = []
        for entry in page:
            if not entry.key.startswith(below):
                self._foreign.skip(entry.key, f"the server lists it below {self.prefix}")
            elif flaw := flaw_of(entry.key):
                self._foreign.skip(entry.key, flaw)
            else:
                found.append(entry)
        return found

    def is_new(self, entry: Entry) -> bool:
        """Return whether an object stands behind all that were listed."""
        return self._progress.is_beyond([entry.key])


class ForeignNames:
    """Names each foreign object of one bucket once, in the log `cas.bucket` at level INFO."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def skip(self, name: str, why: str) -> None:
        """Note that a listing leaves out an object, and why."""
        with self._lock:
            if name in self._seen or len(self._seen) > _NAMED:
                return
            self._seen.add(name)
            more = len(self._seen) > _NAMED
        if more:
            _logger.info(printable(f"skipped more objects in {self._where} that are not ours"))
        else:
            _logger.info(printable(f"skipped {name} in {self._where}: {why}"))


def flaw_of(key: str) -> str:
    """Return why no program of ours can have written an object of that key; empty for a key that may be ours."""
    if any(component in ("", ".", "..") for component in key.split("/")):
        return "its key has an empty component, or one of dots"
    if any(character < " " or "\x7f" <= character <= "\x9f" for character in key):
        return "its key has a control character"
    if "\ufffd" in key or any("\ud800" <= character <= "\udfff" for character in key):
        return "its key is not valid Unicode"
    return ""
