"""Objects into files, several pieces at once; each is verified before it gets its name."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cas import events
from cas.bucket import Bucket, ObjectRange
from cas.config import MIB, usable_cores
from cas.errors import DiskFull, FormatError, IntegrityError, StoreError
from cas.local.fs import disk_errors, free_bytes, write_all
from cas.ops.import_flat.integrity import check_whole, name_of
from cas.ops.import_flat.plan import Wanted
from cas.ops.import_flat.workspace import Place, State
from cas.parallel import for_each

# Pieces in flight are what an import holds in memory: 64 MiB.
_PIECE = 8 * MIB
_REQUESTS = 8


@dataclass(slots=True)
class _Task:
    """One object to fetch. folder: of its repo in the hub cache, empty for a plain file. left: pieces to come."""

    wanted: Wanted
    folder: str
    part: Path
    left: int
    tag: str = ""
    turn: threading.Lock = field(default_factory=threading.Lock)

    def take(self, piece: ObjectRange, start: int, where: str) -> None:
        """Writes a piece; raises StoreError when it is of other content than the pieces before."""
        with self.turn:
            self.tag = self.tag or piece.tag
            if piece.size != self.wanted.entry.size or piece.tag != self.tag:
                raise StoreError(
                    f"{where}/{self.wanted.entry.key} was written to while it was read: "
                    "import again when its writer is done"
                )
        with disk_errors(self.part):
            fd = os.open(self.part, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                write_all(fd, piece.data, start)
            finally:
                os.close(fd)

    def ended(self) -> bool:
        """Takes note that a piece is done; whether it was the last one."""
        with self.turn:
            self.left -= 1
            return self.left == 0


class Fetcher:
    """Brings objects of a bucket into a place. names: what each fetched object's content is called, by its key."""

    def __init__(self, bucket: Bucket, place: Place, listen: events.Listener) -> None:
        self._bucket, self._place, self._listen = bucket, place, listen
        self._recording = threading.Lock()
        self.names: dict[str, str] = {}

    def fetch(self, files: Iterable[tuple[str, Wanted]]) -> None:
        """Fetches what is not there yet, verified; files: each with the folder of its repo, empty for plain ones.

        Raises DiskFull before the first byte, IntegrityError, StoreError or CacheError.
        """
        distinct = {wanted.entry.key: (folder, wanted) for folder, wanted in files}
        self._recall(distinct.values())
        tasks = [
            _Task(wanted, folder, self._place.part(number), max(1, -(-wanted.entry.size // _PIECE)))
            for number, (key, (folder, wanted)) in enumerate(sorted(distinct.items()))
            if key not in self.names
        ]
        size = sum(task.wanted.entry.size for task in tasks)
        if size > (free := free_bytes(self._place.root)):
            raise DiskFull(
                f"import needs {size:,} bytes and {self._place.root} has {free:,} free: "
                "free some space, or choose another --cache-dir"
            )
        self._listen(events.Phase("import", size))
        for_each(self._piece, _pieces(tasks), threads=_REQUESTS)

    def _recall(self, files: Iterable[tuple[str, Wanted]]) -> None:
        """Takes over what an earlier import fetched, if the object and the file are as they were then."""
        recorded = self._place.recorded()

        def look(file: tuple[str, Wanted]) -> None:
            folder, wanted = file
            entry = wanted.entry
            name = recorded.get(State(entry.key, entry.size, entry.tag), "") if entry.tag else ""
            path = self._target(folder, wanted, name)
            if not name or (wanted.names and name not in wanted.names) or not path.is_file():
                return
            if path.stat().st_size == entry.size and name_of(path, (name,)) == name:
                self.names[entry.key] = name

        if recorded:
            self._listen(events.Phase("hash"))
            for_each(look, files, threads=usable_cores())

    def _piece(self, piece: tuple[_Task, int]) -> None:
        task, start = piece
        size = self._take(task, start)
        self._listen(events.Moved(size, size))
        if task.ended():
            self._finish(task)

    def _take(self, task: _Task, start: int) -> int:
        entry = task.wanted.entry
        size = min(_PIECE, entry.size - start)
        if size:
            task.take(self._bucket.get_range(entry.key, start, size), start, self._bucket.url)
        else:
            task.part.touch()
        return size

    def _finish(self, task: _Task) -> None:
        wanted = task.wanted
        try:
            name = self._checked(task)
        except IntegrityError:
            # Damaged where it lies, or on its way here: asked for once more, which tells.
            for _, start in _pieces([task]):
                self._take(task, start)
            name = self._checked(task)
        path = self._target(task.folder, wanted, name)
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            task.part.replace(path)
        with self._recording:
            self.names[wanted.entry.key] = name
            self._place.record(wanted.entry, name)

    def _checked(self, task: _Task) -> str:
        """The name of what was fetched; raises IntegrityError when it is not what was wanted."""
        wanted = task.wanted
        name = name_of(task.part, wanted.names)
        where = f"{self._bucket.url}/{wanted.entry.key}"
        if wanted.names and name not in wanted.names:
            meant = f"is {min(wanted.names)} by name" if len(wanted.names) == 1 else "should be one of the repo's blobs"
            raise IntegrityError(f"{where} {meant} and {name} by content: it is damaged; nothing was published")
        if not wanted.names:
            try:
                check_whole(task.part, wanted.path)
            except FormatError as error:
                raise IntegrityError(f"{where} is damaged or cut short: {error}; nothing was published") from None
        return name

    def _target(self, folder: str, wanted: Wanted, name: str) -> Path:
        return self._place.blob(folder, name) if folder else self._place.root / wanted.path


def _pieces(tasks: Iterable[_Task]) -> Iterator[tuple[_Task, int]]:
    for task in tasks:
        for start in range(0, max(1, task.wanted.entry.size), _PIECE):
            yield task, start
