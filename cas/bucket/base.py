"""What the program can do with a bucket: read, look up, write, list and delete objects, with honest errors."""

from __future__ import annotations

import datetime
from abc import ABC, abstractmethod
from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from cas.errors import ObjectMissing, Unsupported
from cas.formats.digest import Buffer

if TYPE_CHECKING:
    from cas.bucket.body import Body


class Entry(NamedTuple):
    """One object as a listing shows it.

    Attributes:
        key: the object's key, below the bucket's prefix.
        size: bytes.
        modified: when the object was last written, by the server's clock and not by ours.
        tag: the object's etag, which every write changes; empty where the server gives none.
    """

    key: str
    size: int
    modified: datetime.datetime
    tag: str = ""


class ObjectRange(NamedTuple):
    """Consecutive bytes of an object.

    Attributes:
        data: the bytes.
        size: bytes of the whole object.
        tag: the object's etag. A server may write it otherwise here than in `Entry.tag`.
    """

    data: Buffer
    size: int
    tag: str


class Stored(NamedTuple):
    """One stored version of an object. What a deletion hides is a version, and the delete marker is another.

    Attributes:
        key: the object's key, below the bucket's prefix.
        size: bytes; 0 for a delete marker.
        modified: when the version was written, by the server's clock.
        version: the version's id; empty where the bucket keeps no versions.
        current: whether readers of the key get this version.
        marker: whether it is a delete marker, which has no bytes and hides the others.
    """

    key: str
    size: int
    modified: datetime.datetime
    version: str = ""
    current: bool = True
    marker: bool = False


class MultipartUpload(NamedTuple):
    """A multipart upload that was begun and not ended.

    Attributes:
        key: the object that it would write, below the bucket's prefix.
        id: S3's id of the upload.
        begun: when it was begun, by the server's clock.
    """

    key: str
    id: str
    begun: datetime.datetime


class ServerFacts(NamedTuple):
    """What an answer says of the server that gave it.

    Attributes:
        endpoint: the URL that requests go to.
        region: for which they are signed.
        software: the header Server; empty where there is none.
        request: the server's id of the request; some servers can be told by its form.
        now: the server's clock; None where the answer does not tell.
        seconds: how long the request took.
    """

    endpoint: str
    region: str
    software: str
    request: str
    now: datetime.datetime | None
    seconds: float


# Inside the class Bucket, `list` is a method.
Entries: TypeAlias = list[Entry]
Versions: TypeAlias = list[Stored]
MultipartUploads: TypeAlias = list[MultipartUpload]
Pages: TypeAlias = list[list[str]]

_FOR_EVER = "public, max-age=31536000, immutable, no-transform"


class Kind(Enum):
    """What an object is. The kind decides the HTTP headers Content-Type and Cache-Control that are stored with it."""

    CHUNK = ("application/zstd", _FOR_EVER)
    MANIFEST = ("application/json", _FOR_EVER)
    DOCUMENT = ("application/json", "no-store")
    SIGNATURE = ("text/plain; charset=utf-8", "no-store")
    WAV = ("audio/wav", None)
    FLAC = ("audio/flac", None)
    MP3 = ("audio/mpeg", None)
    OPUS = ("audio/ogg", None)
    PCM = ("audio/pcm", None)

    @property
    def headers(self) -> dict[str, str]:
        """HTTP headers to store with the object."""
        content_type, cache_control = self.value
        return {"Content-Type": content_type} | ({"Cache-Control": cache_control} if cache_control else {})


class Bucket(ABC):
    """Objects by key.

    Every method may raise AccessDenied, BucketMissing or Transient (after its own retries). A method reports an object
    as absent only when the server said so.

    Attributes:
        url: the bucket's URL or path, as errors name it.
    """

    url: str

    @property
    def where(self) -> str:
        """The bucket's URL or path, with the endpoint of one that is not at AWS: for people."""
        return self.url

    @abstractmethod
    def get(self, key: str, limit: int) -> Buffer:
        """Return the bytes of an object.

        Raises:
            ObjectMissing: the bucket has no such object.
            ObjectTooLarge: the object has more than `limit` bytes.
        """

    def get_into(self, key: str, into: memoryview, body: Body | None = None) -> int:
        """Write the bytes of an object to `into` and return their number.

        Args:
            key: of the object.
            into: memory for the bytes, which may be longer.
            body: is told how far they are, and lets another thread ask for the rest, where the bucket can do that.

        Raises:
            ObjectMissing: the bucket has no such object.
            ObjectTooLarge: the object is larger than `into`.
        """
        data = self.get(key, len(into))
        into[: len(data)] = data
        return len(data)

    def get_range(self, key: str, start: int, size: int) -> ObjectRange:
        """Return `size` (1 or more) bytes of an object, beginning at the byte `start`.

        Raises:
            ObjectMissing: the bucket has no such object.
            StoreError: the object ends before the range does.
            Unsupported: this bucket gives whole objects only.
        """
        raise Unsupported(f"get a part of {key}: {self.url} gives whole objects only")

    @abstractmethod
    def head(self, key: str) -> Entry:
        """Return the size, age and etag of an object; raises ObjectMissing."""

    @abstractmethod
    def put(self, key: str, data: Buffer, kind: Kind, *, overwrite: bool = False) -> bool:
        """Write an object.

        Two writers of one key at the same moment may both get True where the server does not honour conditional writes.
        The keys of a store are made so that both then wrote the same bytes.

        Args:
            key: the object's key.
            data: the object's bytes. A request that was cut may read them for some time after this call (see
                `ReusableBuffer.given_away`).
            kind: decides the HTTP headers that are stored with the object.
            overwrite: replace an existing object. In a store, only the repair of damage does this.

        Returns:
            True when the object now holds `data`; False when an object with other bytes was there, which stayed.
        """

    def probe_conditional_writes(self, key: str, first: Buffer | None, second: Buffer) -> bool:
        """Return whether the server refuses to replace an object, tried at a key that nothing else uses.

        Where the server replaces what it was told not to, the key holds `second` afterwards, and `first` elsewhere. A
        server that refuses every conditional write (400, 412 and 501 are seen) does not honour them either.

        Args:
            key: holds no object yet, or `first`.
            first: what is written there; None where the caller has seen `first`.
            second: other bytes.
        """
        return True

    @abstractmethod
    def list(self, prefix: str) -> list[Entry]:
        """Return every object below the folder `prefix`, ordered by key; raises Unsupported over plain https."""

    def pages(self, prefix: str) -> Iterator[Entries]:
        """Yield every object below the folder `prefix`, each once and some at a time; raise Unsupported as `list` does.

        So memory follows what the caller keeps, and a caller that has seen enough makes no further request. The order
        is the server's: by key within a folder.
        """
        yield self.list(prefix)

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object; an absent object is no error."""

    def settle(self) -> None:  # noqa: B027 (servers need nothing)
        """Make what this process wrote, deleted or found survive a power cut; servers see to that by themselves.

        Call it before an object is written, or deleted, because of others; and before success is told. What another
        process wrote just now counts as found, so whoever builds on it makes it durable, too.
        """

    def exists(self, key: str) -> bool:
        """Return whether the server has the object; False only when the server answered that it has not."""
        try:
            self.head(key)
        except ObjectMissing:
            return False
        return True

    def signed_url(self, key: str, seconds: int) -> str:
        """Return a URL under which anybody can read an object for `seconds`; makes no request.

        Raises:
            Unsupported: no server shows the objects of this bucket.
        """
        raise Unsupported(f"sign a URL of {key}: no server shows the objects of {self.url}")

    def keeps_versions(self, key: str) -> bool:
        """Return whether a deleted or overwritten object goes on taking space until `erase`.

        Args:
            key: an object of the bucket, best one that was written just now: its stored versions tell.
        """
        return False

    def stored(self, prefix: str) -> Versions:
        """Return every stored version of the objects below the folder `prefix`, by key."""
        return [Stored(entry.key, entry.size, entry.modified) for entry in self.list(prefix)]

    def erase(self, stored: Stored) -> None:
        """Delete one stored version for good, which frees its space."""
        self.delete(stored.key)

    def multipart_uploads(self) -> MultipartUploads:
        """Return the multipart uploads that were begun in this bucket and not ended."""
        return []

    def abort(self, upload: MultipartUpload) -> None:
        """Free the pieces of a multipart upload; an upload that is gone is no error."""
        raise Unsupported(f"abort the upload of {upload.key}: {self.url} has none")

    def server(self) -> ServerFacts | None:
        """Return what the server says of itself; None where there is no server of objects."""
        return None

    def first_pages(self, prefix: str, size: int, most: int) -> Pages:
        """Return the keys on the first pages of the listing of the folder `prefix`, as the server cuts them.

        Args:
            prefix: the folder.
            size: how many keys the server shall put on a page.
            most: how many pages to ask for.

        Raises:
            Unsupported: listings of this bucket have no pages.
        """
        raise Unsupported(f"list {prefix} in pages: {self.url} has none")
