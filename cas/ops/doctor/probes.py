"""The checks of a store that write, each in the folder of the examination, which is cleared at the end.

write         one small object, and all that can be learnt from it: its bytes, a range, the listing, conditional writes
delete        that object; only a key that may delete goes on to what is larger
pages, rate   several small objects; one of the size of a chunk
versions      what a collector needs beside
clear         whatever is left; `cas gc` deletes what a key without that right leaves
"""

from __future__ import annotations

import datetime
import os
import time

from cas.bucket import Kind
from cas.errors import AccessDenied, CasError, StoreError, Unsupported
from cas.ops.doctor.findings import Result, failed, ok, result_of, skipped, warning
from cas.ops.doctor.probe_folder import ProbeFolder
from cas.ops.doctor.store_checks import StoreExamination, clock
from cas.store import layout

_SMALL = bytes(range(256))
_OTHER = bytes(reversed(range(256)))
_CHUNK = 8 * 1024 * 1024  # the size of a chunk as it is written (docs/design.md)
_LARGEST_FRAME = 65 * 1024 * 1024
_SLOW = 2_000_000  # bytes a second and connection: with the 14 that a restore uses, a minute for 1.4 GB


class Probes:
    """The checks of one store that write."""

    def __init__(self, examination: StoreExamination) -> None:
        """Write nothing yet. examination: what is known of the store."""
        self._examination = examination
        self._bucket = examination.bucket
        self._folder = ProbeFolder(examination.bucket)
        self._kept: bool | CasError = False  # whether the bucket keeps versions, or why that is unknown

    def run(self) -> None:
        """Make all checks, and clear what they wrote even when they are interrupted."""
        noted = self._examination
        if kind := "https stores" if noted.is_web else "archives" if os.path.isfile(noted.store.url) else "":
            result = skipped(f"{kind} are read only")
            if noted.role in ("publisher", "collector"):
                advice = "the store's s3:// URL" if noted.is_web else "a store that `cas import` brought it into"
                result = failed(f"{kind} are read only", f"give {advice} to publish or collect", 2)
            noted.note("write", result)
            return
        if noted.is_directory and not os.path.isdir(noted.store.url):
            noted.note("write", skipped("the directory does not exist yet"))
            return
        try:
            written = self._write()
            if written:
                self._small_object()
            if noted.role != "reader" or written:
                self._kept = self._look_at_versions()
                self._folder.keeps_versions = self._kept if isinstance(self._kept, bool) else None
            if written or noted.role is not None:
                self._delete()
            self._larger()
            if noted.role in (None, "publisher", "collector"):
                self._versions()
            if noted.role in (None, "collector"):
                self._uploads()
        finally:
            left, size = self._folder.clear()
        if left:
            noted.note("clear", self._left(left, size))

    def _write(self) -> bool:
        begun = time.monotonic()
        try:
            self._folder.put("small", _SMALL)
        except AccessDenied as error:
            self._folder.not_written("small")
            self._examination.right("write", error)
            return False
        except CasError as error:
            self._examination.note("write", failed(str(error), code=error.exit_code))
            return False
        self._examination.right("write", ok(f"an object of 256 bytes in {1000 * (time.monotonic() - begun):.0f} ms"))
        return True

    def _small_object(self) -> None:
        note = self._examination.note
        if self._examination.clock_unknown:
            note("clock", result_of(self._clock))
        note("checksums", result_of(self._read_back))
        note("range", result_of(self._range))
        if self._examination.rights.get("list"):
            note("consistency", result_of(self._listed_at_once))
        note("conditional", result_of(self._conditional))

    def _clock(self) -> Result:
        there = self._bucket.head(self._folder.key("small")).modified
        return clock(there, datetime.datetime.now(datetime.UTC), 1)

    def _read_back(self) -> Result:
        data = self._bucket.get(self._folder.key("small"), len(_SMALL))
        if bytes(data) != _SMALL:
            return failed(
                "what was written comes back changed", "reach the store without the proxy or gateway before it", 4
            )
        return ok("what was written comes back the same")

    def _range(self) -> Result:
        try:
            part = self._bucket.get_range(self._folder.key("small"), 100, 56)
        except AccessDenied:
            raise
        except StoreError as error:
            return warning(str(error), "only `cas import-flat` reads parts of objects")
        if bytes(part.data) != _SMALL[100:156]:
            return failed("another part came than was asked for", "reach the store without the proxy before it", 4)
        return ok("a part of an object can be read")

    def _listed_at_once(self) -> Result:
        keys = [entry.key for entry in self._bucket.list(self._folder.path)]
        if self._folder.key("small") in keys:
            return ok("a listing shows what was written just now")
        return failed(
            "a listing does not show what was written just now",
            "moves of tags and `cas gc` rely on that: use storage that lists what it has acknowledged",
        )

    def _conditional(self) -> Result:
        if self._folder.takes_conditions("condition", _SMALL, _OTHER):
            return ok("a write that must not replace an object did not")
        return warning(
            "the server replaces objects that a write must not replace, or refuses such writes (If-None-Match)",
            "publishing and restoring need none; docs/operations/versions.md says what --expect promises then",
        )

    def _delete(self) -> None:
        """Note whether the key may delete, by the object that was written, or by one that never was."""
        noted, folder = self._examination, self._folder
        try:
            for name in ("small", "condition"):
                folder.delete(name)
        except AccessDenied as error:
            noted.right("delete", error)
            return
        except CasError as error:
            noted.note("delete", failed(str(error), code=error.exit_code))
            return
        if noted.rights.get("write") and self._bucket.exists(folder.key("small")):
            noted.note("delete", failed("an object that was deleted is still there", "reach the store without caches"))
            return
        noted.right("delete", ok("objects can be deleted, one request for each"))

    def _look_at_versions(self) -> bool | CasError:
        """Return whether the small object was stored as a version, or why that is unknown."""
        try:
            if self._examination.rights.get("write"):
                return self._bucket.keeps_versions(self._folder.key("small"))
            return any(stored.version for stored in self._bucket.stored(self._folder.path))
        except CasError as error:
            return error

    def _larger(self) -> None:
        note = self._examination.note
        if self._folder.may_delete and self._examination.role != "reader":
            note("pages", result_of(self._pages))
            note("rate", result_of(self._rate_of_a_new_chunk))
        elif self._examination.rights.get("list"):
            note("pages", result_of(lambda: self._examination.pages("", None)))
            note("rate", result_of(self._rate_of_a_stored_chunk))

    def _pages(self) -> Result:
        names = [f"page-{number}" for number in range(5)]
        for name in names:
            self._folder.put(name, b"{}")
        return self._examination.pages(self._folder.path, [self._folder.key(name) for name in names])

    def _rate_of_a_new_chunk(self) -> Result:
        data = os.urandom(_CHUNK)
        begun = time.monotonic()
        self._folder.put("chunk", data, Kind.CHUNK)
        written = time.monotonic()
        into = memoryview(bytearray(_CHUNK))
        size = self._bucket.get_into(self._folder.key("chunk"), into)
        read = time.monotonic()
        if bytes(into[:size]) != data:
            return failed("a chunk comes back changed", "reach the store without the proxy or gateway before it", 4)
        there, back = _rate(_CHUNK, written - begun), _rate(_CHUNK, read - written)
        words = f"one chunk of {_CHUNK / 1e6:.1f} MB on one connection: {there} written, {back} read"
        return _judged_rate(words, _CHUNK, read - written)

    def _rate_of_a_stored_chunk(self) -> Result:
        key = self._stored_chunk()
        if not key:
            return skipped("no chunk is stored that could be read")
        begun = time.monotonic()
        size = self._bucket.get_into(key, memoryview(bytearray(_LARGEST_FRAME)))
        seconds = time.monotonic() - begun
        words = f"one chunk of {size / 1e6:.1f} MB on one connection: {_rate(size, seconds)} read"
        return _judged_rate(words, size, seconds)

    def _stored_chunk(self) -> str:
        """Return the key of any chunk in the store; empty where none is found."""
        try:
            keys = [key for page in self._bucket.first_pages(layout.CHUNKS, 1, 1) for key in page]
        except Unsupported:
            found = (self._bucket.list(folder) for folder in layout.CHUNK_FOLDERS)
            keys = [entry.key for entry in next((entries for entries in found if entries), ())]
        return next((key for key in keys if layout.chunk_digest(key)), "")

    def _versions(self) -> None:
        """Note whether the bucket keeps versions, and whether the key may list them."""
        noted, kept = self._examination, self._kept
        if isinstance(kept, AccessDenied):
            noted.right("versions", kept)
        elif isinstance(kept, CasError):
            noted.note("versions", failed(str(kept), code=kept.exit_code))
        elif kept:
            noted.right("versions", ok("every version of an object is kept until `cas gc` erases it"))
        else:
            noted.right("versions", ok("deleted and replaced objects take no space"))

    def _uploads(self) -> None:
        """Note whether the key may list multipart uploads that nobody ended."""
        noted = self._examination
        try:
            uploads = self._bucket.multipart_uploads()
            noted.right("uploads", ok(f"{len(uploads)} multipart uploads that nobody ended"))
        except AccessDenied as error:
            noted.right("uploads", error)
        except CasError as error:
            noted.note("uploads", failed(str(error), code=error.exit_code))

    def _left(self, left: int, size: int) -> Result:
        words = f"{size:,} bytes stay below {layout.EXAMINATIONS}/, in {left} {'object' if left == 1 else 'objects'}"
        if self._folder.may_delete is False:
            return ok(f"{words}, as this key may not delete: `cas gc` erases what is older than an hour")
        if self._folder.keeps_versions:
            return ok(f"{words}, hidden, as this key may not erase versions: `cas gc` does an hour on")
        return warning(words, "`cas gc` erases what is older than an hour")


def _rate(size: int, seconds: float) -> str:
    return f"{size / 1e6 / max(seconds, 1e-6):,.1f} MB/s"


def _judged_rate(words: str, size: int, seconds: float) -> Result:
    if size > _SLOW and size / max(seconds, 1e-6) < _SLOW:
        return warning(words, "the link is slow or throttled: compare with another machine, or another region")
    return ok(words)
