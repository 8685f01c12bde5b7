"""The local receipt: which files were verified, so that a warm restore reads none of them again.

One document per repo folder, `.cas/verified.json`: a file whose content name, size and modification time are
as they were when it was hashed is taken as verified. An edit that keeps size and time passes; `--verify` finds it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from cas.folder import Folder, is_file
from cas.hfcache import PRIVATE

_NAME = "verified.json"
_LARGEST = 64 * 1024 * 1024


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """A verified file as it was. content: 64 hex. size: bytes. mtime: nanoseconds."""

    content: str
    size: int
    mtime: int


class _Document(msgspec.Struct, frozen=True):
    version: int
    files: dict[str, Seen]


class Trust:
    """The receipt of one root folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen = _read(root)

    def find(self, parts: tuple[str, ...], content: str) -> Seen | None:
        """What the receipt says of the file `parts`, if it was verified to be `content` and is as it was."""
        seen = self._seen.get("/".join(parts))
        return seen if seen and seen == look(self._root.joinpath(*parts), content) else None

    def with_files(self, files: Mapping[tuple[str, ...], Seen]) -> bytes:
        """The next receipt: this one and `files`, without files that are gone."""
        kept = {path: seen for path, seen in self._seen.items() if look(self._root / path, seen.content) == seen}
        kept.update({"/".join(parts): seen for parts, seen in files.items()})
        return msgspec.json.encode(_Document(1, dict(sorted(kept.items()))))

    def knows(self, parts: tuple[str, ...], seen: Seen) -> bool:
        """Whether the receipt already says this."""
        return self._seen.get("/".join(parts)) == seen


def look(path: Path, content: str) -> Seen | None:
    """What the receipt would say about a file now; None when it is absent or no ordinary file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    if not is_file(found):
        return None
    return Seen(content, found.st_size, found.st_mtime_ns)


def write(root: Path, document: bytes) -> None:
    """Puts a receipt in place; raises CacheError when the folder cannot be written."""
    with Folder.open(root, (PRIVATE,)) as folder:
        folder.write(_NAME, document, folder)


def _read(root: Path) -> dict[str, Seen]:
    try:
        with (root / PRIVATE / _NAME).open("rb") as file:
            document = msgspec.json.decode(file.read(_LARGEST), type=_Document)
    except (OSError, msgspec.DecodeError):
        # Without a receipt everything is hashed again: slower, never wrong.
        return {}
    return document.files if document.version == 1 else {}
