"""Buckets without a server: one gives the input for every object, the other remembers what is written."""

from __future__ import annotations

import datetime

from cas.bucket import Bucket, Entry, Kind
from cas.formats.digest import Buffer

WHEN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
"""When every object was written."""


class OneDocument(Bucket):
    """A bucket in which every object has the same bytes, and whose listings name one key, or none."""

    url = "memory:"

    def __init__(self, data: bytes, key: str = "") -> None:
        """Make the bucket. data: the bytes of every object; key: what listings name."""
        self._data, self._entry = data, Entry(key, len(data), WHEN)

    def get(self, key: str, limit: int) -> Buffer:
        return self._data

    def head(self, key: str) -> Entry:
        return self._entry

    def put(self, key: str, data: Buffer, kind: Kind, *, overwrite: bool = False) -> bool:
        raise AssertionError("nothing is written while a document is read")

    def list(self, prefix: str) -> list[Entry]:
        return [self._entry] if self._entry.key else []

    def delete(self, key: str) -> None:
        raise AssertionError("nothing is deleted while a document is read")


class Written(OneDocument):
    """A bucket that takes what is written.

    Attributes:
        objects: the key and the bytes of each object, in the order of writing.
    """

    def __init__(self) -> None:
        super().__init__(b"")
        self.objects: list[tuple[str, bytes]] = []

    def put(self, key: str, data: Buffer, kind: Kind, *, overwrite: bool = False) -> bool:
        self.objects.append((key, bytes(data)))
        return True
