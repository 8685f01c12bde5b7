"""What a store asks of the place that keeps its objects: five verbs, and honest errors."""

from __future__ import annotations

import datetime
from abc import ABC, abstractmethod
from enum import Enum
from typing import NamedTuple, TypeAlias

from cas.errors import ObjectMissing, Unsupported
from cas.formats.digest import Buffer


class Entry(NamedTuple):
    """One object as a listing shows it.

    modified: the server's clock, not ours. tag: another one after every write, empty where the server tells none.
    """

    key: str
    size: int
    modified: datetime.datetime
    tag: str = ""


class ObjectRange(NamedTuple):
    """Some of an object's bytes. size: of the whole object. tag: as in Entry, though perhaps written otherwise."""

    data: Buffer
    size: int
    tag: str


class Stored(NamedTuple):
    """One stored version of an object; what a deletion hides is one, and its mark is another.

    version: its id, empty where the bucket keeps none. current: whether it is what readers of the key get.
    """

    key: str
    size: int
    modified: datetime.datetime
    version: str = ""
    current: bool = True


class MultipartUpload(NamedTuple):
    """An upload in parts that was begun and not ended. begun: the server's clock."""

    key: str
    id: str
    begun: datetime.datetime


Versions: TypeAlias = list[Stored]  # inside a bucket, `list` is its method
MultipartUploads: TypeAlias = list[MultipartUpload]


class Kind(Enum):
    """What an object is: decides its Content-Type and whether caches may keep it for ever."""

    CHUNK = ("application/zstd", True)
    MANIFEST = ("application/json", True)
    DOCUMENT = ("application/json", False)

    @property
    def headers(self) -> dict[str, str]:
        """HTTP headers to store with the object."""
        content_type, immutable = self.value
        cache = "public, max-age=31536000, immutable, no-transform" if immutable else "no-store"
        return {"Content-Type": content_type, "Cache-Control": cache}


class Bucket(ABC):
    """Objects by key.

    Every method may raise AccessDenied, BucketMissing or Transient (after its own retries). Absent is
    said only when the server said so.
    """

    url: str

    @abstractmethod
    def get(self, key: str, limit: int) -> Buffer:
        """The bytes of an object; raises ObjectMissing, or ObjectTooLarge when it has more than `limit`."""

    def get_into(self, key: str, into: memoryview) -> int:
        """Writes the bytes of an object to `into` and returns how many; raises as `get` with that limit."""
        data = self.get(key, len(into))
        into[: len(data)] = data
        return len(data)

    def get_range(self, key: str, start: int, size: int) -> ObjectRange:
        """`size` (1 or more) bytes of an object from `start` on; raises ObjectMissing, StoreError when it has fewer."""
        raise Unsupported(f"get a part of {key}: {self.url} gives whole objects only")

    @abstractmethod
    def head(self, key: str) -> Entry:
        """Size and age of an object; raises ObjectMissing."""

    @abstractmethod
    def put(self, key: str, data: Buffer, kind: Kind, *, overwrite: bool = False) -> bool:
        """Writes an object; True when it now holds `data`, False when another content was there and stayed.

        overwrite: replace an existing object, for the repair of a damaged store only. Without it, two
        writers of one key at the same moment may both be told True where the server does not honour
        conditional writes; keys are made so that both then wrote the same thing.
        """

    @abstractmethod
    def list(self, prefix: str) -> list[Entry]:
        """Every object below the folder `prefix`, ordered by key; raises Unsupported over plain https."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Removes an object; removing an absent one is no error."""

    def exists(self, key: str) -> bool:
        """Whether the server has the object; False only when it answered that it has not."""
        try:
            self.head(key)
        except ObjectMissing:
            return False
        return True

    def keeps_versions(self, key: str) -> bool:
        """Whether a deleted object, or one that is written over, goes on taking room until `erase`.

        key: an object that was written just now, and tells.
        """
        return False

    def stored(self, prefix: str) -> Versions:
        """Every stored version of the objects below the folder `prefix`, by key."""
        return [Stored(entry.key, entry.size, entry.modified) for entry in self.list(prefix)]

    def erase(self, stored: Stored) -> None:
        """Frees the room of one stored version."""
        self.delete(stored.key)

    def multipart_uploads(self) -> MultipartUploads:
        """Multipart uploads that somebody began here and did not end."""
        return []

    def abort(self, upload: MultipartUpload) -> None:
        """Frees the parts of an upload; one that is gone is no error."""
        raise Unsupported(f"abort the upload of {upload.key}: {self.url} has none")
