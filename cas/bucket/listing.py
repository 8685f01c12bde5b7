"""Rules of every listing: it goes on, it ends, and a foreign name in it is left out.

A listing is a server's word: its pages may repeat for ever, and its keys may be such as no program of ours can read
back. obstore and boto3 both list through these rules.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from cas.bucket.base import Entry
from cas.errors import ListingUnbounded
from cas.formats.printable import printable

MAX_PAGES = 500
"""Pages of 1000 keys of the longest listing that is read; they take about 0.3 GB of memory."""

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
        self.pages = 0
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
        if keys:
            if not self.is_beyond(keys):
                raise self._error("a page brings no key beyond the last one")
            self._last = max(*keys, self._last)
            self._last_components = max(*(key.split("/") for key in keys), self._last_components)
        if token and token in self._tokens:
            raise self._error("the server gave the same continuation token twice")
        self._tokens.add(token)
        if self.pages > MAX_PAGES:
            raise self._error(f"it has more than {MAX_PAGES:,} pages, or {MAX_PAGES * 1000:,} keys")
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
        entries: what was listed, without foreign objects.
        last: the last key that was listed, to go on behind it; empty for none.
        pages: how many pages have come.
    """

    def __init__(self, prefix: str, where: str, foreign: ForeignNames) -> None:
        """Begin a listing.

        Args:
            prefix: the folder, without slashes at its ends.
            where: the bucket's URL and endpoint, named in errors.
            foreign: is told of the objects that are left out.
        """
        self.prefix, self._foreign = prefix, foreign
        self._progress = ListingProgress(f"list {prefix or '/'} in {where}")
        self.entries: list[Entry] = []
        self.last = ""

    @property
    def pages(self) -> int:
        """How many pages have come."""
        return self._progress.pages

    def is_beyond(self, page: Sequence[Entry]) -> bool:
        """Return whether a page brings a key behind those before it."""
        return not page or self._progress.is_beyond([entry.key for entry in page])

    def add(self, page: Sequence[Entry], token: str = "") -> None:
        """Add one page; raise ListingUnbounded as `ListingProgress.page` does."""
        self._progress.page([entry.key for entry in page], token)
        below = f"{self.prefix}/" if self.prefix else ""
        for entry in page:
            if not entry.key.startswith(below):
                self._foreign.skip(entry.key, f"the server lists it below {self.prefix}")
            elif flaw := flaw_of(entry.key):
                self._foreign.skip(entry.key, flaw)
            else:
                self.entries.append(entry)
        if page:
            self.last = page[-1].key


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
