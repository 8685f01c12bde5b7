"""Fetches objects into files, several pieces at a time. A file is verified before it gets its name."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cas import events
from cas.bucket import Bucket, ObjectRange
from cas.errors import DiskFull, FormatError, IntegrityError, StoreError
from cas.host import MIB, usable_cores
from cas.local.fs import check_regular, disk_errors, free_bytes, write_all
from cas.ops.import_flat.integrity import check_loadable, content_name
from cas.ops.import_flat.repo_plan import WantedFile
from cas.ops.import_flat.workspace import FetchedObject, Workspace
from cas.parallel import for_each

# An import holds the pieces in flight in memory: 64 MiB.
_PIECE = 8 * MIB
_REQUESTS = 8


@dataclass(slots=True)
class _Transfer:
    """One object on its way into a file.

    Attributes:
        wanted: the file.
        folder: the folder of its repo in the hub cache; empty for a plain file.
        part_file: the file that is filled.
        pieces_left: how many pieces are still to come.
        tag: the object's tag as the first piece carried it; empty before that.
        lock: guards `tag` and `pieces_left`.
    """

    wanted: WantedFile
    folder: str
    part_file: Path
    pieces_left: int
    tag: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, piece: ObjectRange, start: int, where: str) -> None:
        """Write a piece at offset `start`; raise StoreError if the object has changed since the earlier pieces."""
        with self.lock:
            self.tag = self.tag or piece.tag
            if piece.size != self.wanted.entry.size or piece.tag != self.tag:
                raise StoreError(
                    f"{where}/{self.wanted.entry.key} was written to while it was read: "
                    "import again when its writer is done"
                )
        with disk_errors(self.part_file):
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            fd = os.open(self.part_file, flags, 0o666)
            try:
                check_regular(fd, self.part_file)
                write_all(fd, piece.data, start)
            finally:
                os.close(fd)

    def count_piece(self) -> bool:
        """Count one piece as done, and return whether it was the last one."""
        with self.lock:
            self.pieces_left -= 1
            return self.pieces_left == 0


class Fetcher:
    """Fetches objects of a bucket into a workspace.

    Attributes:
        names: the name of each fetched object's content (sha256 or git sha1), by the object's key.
    """

    def __init__(self, bucket: Bucket, workspace: Workspace, listen: events.Listener) -> None:
        self._bucket, self._workspace, self._listen = bucket, workspace, listen
        self._recording = threading.Lock()
        self.names: dict[str, str] = {}

    def fetch(self, files: Iterable[tuple[str, WantedFile]]) -> None:
        """Fetch and verify the files that the workspace does not have yet.

        Args:
            files: each with the folder of its repo in the hub cache; the folder is empty for a plain file.

        Raises:
            DiskFull: the files do not fit; nothing has been fetched.
            IntegrityError: a file is damaged.
            StoreError: the bucket cannot be read, or is written to while it is read.
            CacheError: the workspace cannot be written to.
        """
        distinct = {wanted.entry.key: (folder, wanted) for folder, wanted in files}
        self._recall(distinct.values())
        transfers = [
            _Transfer(wanted, folder, self._workspace.part_file(number), max(1, -(-wanted.entry.size // _PIECE)))
            for number, (key, (folder, wanted)) in enumerate(sorted(distinct.items()))
            if key not in self.names
        ]
        size = sum(transfer.wanted.entry.size for transfer in transfers)
        if size > (free := free_bytes(self._workspace.root)):
            raise DiskFull(
                f"import needs {size:,} bytes and {self._workspace.root} has {free:,} free: "
                "free some space, or choose another --cache-dir"
            )
        self._listen(events.Phase("import", size))
        for_each(self._fetch_piece, _pieces(transfers), threads=_REQUESTS)

    def _recall(self, files: Iterable[tuple[str, WantedFile]]) -> None:
        """Take over what an earlier import fetched, if neither the object nor the file has changed since then."""
        recorded = self._workspace.recorded()

        def check(file: tuple[str, WantedFile]) -> None:
            folder, wanted = file
            entry = wanted.entry
            name = recorded.get(FetchedObject(entry.key, entry.size, entry.tag), "") if entry.tag else ""
            path = self._target(folder, wanted, name)
            if not name or (wanted.names and name not in wanted.names) or not path.is_file():
                return
            if path.stat().st_size == entry.size and content_name(path, (name,)) == name:
                self.names[entry.key] = name

        if recorded:
            self._listen(events.Phase("hash"))
            for_each(check, files, threads=usable_cores())

    def _fetch_piece(self, piece: tuple[_Transfer, int]) -> None:
        transfer, start = piece
        size = self._copy(transfer, start)
        self._listen(events.Moved(size, size))
        if transfer.count_piece():
            self._finish(transfer)

    def _copy(self, transfer: _Transfer, start: int) -> int:
        """Copy the piece at offset `start` into the part file, and return its size in bytes."""
        entry = transfer.wanted.entry
        size = min(_PIECE, entry.size - start)
        if size:
            transfer.write(self._bucket.get_range(entry.key, start, size), start, self._bucket.url)
        else:
            transfer.part_file.touch()
        return size

    def _finish(self, transfer: _Transfer) -> None:
        """Verify a filled part file, and give it its name."""
        wanted = transfer.wanted
        try:
            name = self._verified_name(transfer)
        except IntegrityError:
            # The object is damaged in the bucket, or was damaged on its way here: a second fetch tells.
            for _, start in _pieces([transfer]):
                self._copy(transfer, start)
            name = self._verified_name(transfer)
        path = self._target(transfer.folder, wanted, name)
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            transfer.part_file.replace(path)
        with self._recording:
            self.names[wanted.entry.key] = name
            self._workspace.record(wanted.entry, name)

    def _verified_name(self, transfer: _Transfer) -> str:
        """The name of the content of a filled part file; raises IntegrityError if it is not the content wanted."""
        wanted = transfer.wanted
        name = content_name(transfer.part_file, wanted.names)
        where = f"{self._bucket.url}/{wanted.entry.key}"
        if wanted.names and name not in wanted.names:
            meant = f"is {min(wanted.names)} by name" if len(wanted.names) == 1 else "should be one of the repo's blobs"
            raise IntegrityError(f"{where} {meant} and {name} by content: it is damaged; nothing was published")
        if not wanted.names:
            try:
                check_loadable(transfer.part_file, wanted.path)
            except FormatError as error:
                raise IntegrityError(f"{where} is damaged or cut short: {error}; nothing was published") from None
        return name

    def _target(self, folder: str, wanted: WantedFile, name: str) -> Path:
        return self._workspace.blob_path(folder, name) if folder else self._workspace.root / wanted.path


def _pieces(transfers: Iterable[_Transfer]) -> Iterator[tuple[_Transfer, int]]:
    """Each piece of each object, as the offset at which it starts."""
    for transfer in transfers:
        for start in range(0, max(1, transfer.wanted.entry.size), _PIECE):
            yield transfer, start
