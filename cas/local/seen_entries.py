"""The newest entries of refs that were verified in a hub cache, so that older ones are refused there later.

    <hub>/.locks/.cas/floors/<64 hex of store and ref>/<seq:08d>-<id>.json
                                                     {"store", "ref", "blake3"}; the name is that of the entry

The name of the file says how new the entry is, and the highest counts. So workers that share a volume never put an
older one in place of a newer one, and need no lock. Only entries that a trusted key signed are written down: whoever
cannot sign cannot raise what is seen.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import NamedTuple

import msgspec

from cas.config import REGISTER
from cas.errors import CacheError
from cas.formats.digest import hex_of
from cas.formats.typed_json import JsonFormat
from cas.local.directory import Directory

_FLOORS = "floors"
_NAME = re.compile(r"([0-9]{8,20})-[0-9a-f]{16}\.json")
_MAX_DOCUMENT = 64 * 1024  # bytes


class Seen(NamedTuple):
    """An entry of a ref that was verified.

    Attributes:
        name: of the entry in the log, which begins with its number; empty for none.
        digest: the BLAKE3 of its bytes, 64 hex; empty where the document that says so cannot be read.
    """

    name: str
    digest: str

    @property
    def order(self) -> tuple[int, str]:
        """The number of the entry, and its name: what the entries of a log are sorted by."""
        return int(self.name.partition("-")[0] or 0), self.name


class _Document(msgspec.Struct, frozen=True):
    store: str
    ref: str
    blake3: str


_DOCUMENTS = JsonFormat[_Document](_Document)


def seen_folder(hub: Path, store: str, ref: str) -> Path:
    """Return the folder of a hub cache that keeps what was seen of a ref.

    Args:
        hub: the hub cache.
        store: the name of the store (`Store.name`).
        ref: the tag or pin in words.
    """
    return hub.joinpath(*_components(store, ref))


def read_seen(hub: Path, store: str, ref: str) -> Seen | None:
    """Return the newest entry of a ref that was verified in a hub cache; None for none.

    The arguments are those of `seen_folder`.

    Raises:
        CacheError: what the cache keeps cannot be read.
    """
    try:
        with Directory.open(hub, _components(store, ref), create=False) as folder:
            names = [name for name in folder.names() if _NAME.fullmatch(name)]
            if not names:
                return None
            newest = max(names, key=lambda name: Seen(name, "").order)
            data = folder.read(newest, _MAX_DOCUMENT)
    except FileNotFoundError:
        return None
    digest = ""
    if data is not None:
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            digest = _DOCUMENTS.decode(data).blake3
    return Seen(newest, digest)


def keep_seen(hub: Path, store: str, ref: str, seen: Seen) -> None:
    """Keep the newest entry of a ref that was verified; a cache that cannot be written keeps nothing.

    Args:
        hub: the hub cache.
        store: the name of the store (`Store.name`).
        ref: the tag or pin in words.
        seen: the entry, not older than what the cache keeps.
    """
    with contextlib.suppress(CacheError, OSError), Directory.open(hub, _components(store, ref)) as folder:
        folder.write(seen.name, _DOCUMENTS.encode(_Document(store, ref, seen.digest)), folder)
        for name in folder.names():
            if _NAME.fullmatch(name) and Seen(name, "").order < seen.order:
                folder.remove(name)
        folder.sync()


def _components(store: str, ref: str) -> tuple[str, ...]:
    return (*REGISTER, _FLOORS, hex_of(f"{store}\n{ref}".encode()))
