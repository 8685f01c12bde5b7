"""The folder of one examination in the store: what is written there is cleared, also when the examination is cut."""

from __future__ import annotations

import contextlib
import os

from cas.bucket import Bucket, Kind
from cas.bucket.directory.bucket import DirectoryBucket
from cas.errors import AccessDenied, CasError, ObjectMissing
from cas.formats.digest import Buffer
from cas.store import layout


class ProbeFolder:
    """Writes and deletes objects below `doctor/<random>/`, and remembers what may be there.

    Attributes:
        path: the folder's key.
        keeps_versions: whether deleted objects stay as versions; None while that is unknown.
        may_delete: whether the key may delete; None while that is unknown.
    """

    def __init__(self, bucket: Bucket) -> None:
        """Choose a name; nothing is written yet. bucket: of the store."""
        self._bucket = bucket
        self.path = layout.examination_folder(os.urandom(8).hex())
        self.keeps_versions: bool | None = None
        self.may_delete: bool | None = None
        self._sizes: dict[str, int] = {}

    def key(self, name: str) -> str:
        """Return the key of an object in this folder."""
        return f"{self.path}/{name}"

    def put(self, name: str, data: Buffer, kind: Kind = Kind.DOCUMENT, *, overwrite: bool = False) -> bool:
        """Write an object, as `Bucket.put` does."""
        # Noted before the request: an interrupt may come after the server has the object.
        self._sizes[self.key(name)] = len(data)
        return self._bucket.put(self.key(name), data, kind, overwrite=overwrite)

    def takes_conditions(self, name: str, first: Buffer, second: Buffer) -> bool:
        """Return whether the server refuses to replace an object. Arguments as for `probe_conditional_writes`."""
        self._sizes[self.key(name)] = max(len(first), len(second))
        return self._bucket.probe_conditional_writes(self.key(name), first, second)

    def delete(self, name: str) -> None:
        """Delete an object, as readers see it; raises AccessDenied where the key may not."""
        try:
            self._bucket.delete(self.key(name))
        except AccessDenied:
            self.may_delete = False
            raise
        self.may_delete = True
        if self.keeps_versions is False:
            self._sizes.pop(self.key(name), None)

    def not_written(self, name: str) -> None:
        """Take note that the server refused to write an object."""
        self._sizes.pop(self.key(name), None)

    def clear(self) -> tuple[int, int]:
        """Delete whatever is left in the folder, stored versions too; return how many objects and bytes stay."""
        if self._sizes and self.may_delete is not False:
            with contextlib.suppress(CasError):
                self._erase_versions()
        for key in list(self._sizes):
            if self.may_delete is False:
                break
            try:
                self._bucket.delete(key)
            except ObjectMissing:
                pass
            except AccessDenied:
                self.may_delete = False
                break
            except CasError:
                continue
            if not self.keeps_versions:  # else it is hidden, and its version goes on taking space
                self._sizes.pop(key)
        self._remove_folders()
        return len(self._sizes), sum(self._sizes.values())

    def _erase_versions(self) -> None:
        """Erase every stored version below the folder, in a bucket that keeps versions."""
        if self.keeps_versions is False:
            return
        for stored in sorted(self._bucket.stored(self.path), key=lambda one: one.current):
            self._bucket.erase(stored)
            if stored.current:
                self._sizes.pop(stored.key, None)

    def _remove_folders(self) -> None:
        """Remove the empty folders of a directory; a bucket has none."""
        if isinstance(self._bucket, DirectoryBucket):
            for folder in (self.path, layout.EXAMINATIONS):
                with contextlib.suppress(OSError):
                    os.rmdir(os.path.join(self._bucket.url, folder))
