"""Leftovers: files that earlier restores made in a folder, and that the present restore does not name.

Only a file that is as a restore left it is removed: one whose stamp is that of its verification, or, after a restore
that was killed before it could record one, whose bytes are those that were to be written. Every step below the folder
is taken without following a symlink.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from cas import events
from cas.errors import CacheError
from cas.formats.digest import hex_of
from cas.formats.paths import fold
from cas.local.directory import Directory
from cas.local.folder_record import FolderRecord, parents_of
from cas.local.fs import is_file, read_at
from cas.local.verified import Chunks, VerifiedFiles


def find_leftovers(folder: Path, wanted: Collection[str]) -> list[str]:
    """Return the paths of the leftovers that a restore would remove, in order.

    Args:
        folder: the folder.
        wanted: paths of the files that the restore names.
    """
    record = VerifiedFiles(folder)
    return [path for path in _candidates(FolderRecord(folder), wanted) if is_as_left(folder, path, record)]


def remove_leftovers(folder: Path, wanted: Collection[str], listen: events.Listener) -> tuple[str, ...]:
    """Remove leftovers, and then the directories that restores made and that have become empty.

    Call it while holding the folder's lock: it writes the record.

    Args:
        folder: the folder.
        wanted: paths of the files that the restore names.
        listen: hears a warning for each leftover that was changed since, and stays.

    Returns:
        The paths of the removed files, in order.

    Raises:
        CacheError: a file or the record cannot be written.
    """
    record, verified = FolderRecord(folder), VerifiedFiles(folder)
    removed, gone = [], set()
    for path in _candidates(record, wanted):
        if _remove_file(folder, path, verified):
            removed.append(path)
        elif os.path.lexists(folder / path):
            listen(events.Warned(f"{folder / path} was changed since a restore wrote it: not removed"))
            continue
        gone.add(path)
    in_use = {parent for path in wanted for parent in parents_of(path)}
    # The deepest directory first.
    for path in sorted(record.directories - in_use, key=lambda path: path.count("/"), reverse=True):
        if _remove_directory(folder, path):
            gone.add(path)
    if gone:
        record.write(record.files - gone, record.directories - gone)
        verified.update({}, {})
    return tuple(removed)


def _candidates(record: FolderRecord, wanted: Iterable[str]) -> list[str]:
    """Return the recorded files that are not wanted, under this spelling or one that some system takes for it."""
    names = {fold(path) for path in wanted}
    return sorted(path for path in record.files if fold(path) not in names)


@contextlib.contextmanager
def _parent(folder: Path, path: str) -> Iterator[tuple[Directory, str] | None]:
    """Open the directory of a file and yield it with the file's name; None where there is none without a symlink."""
    *parents, name = path.split("/")
    with contextlib.ExitStack() as stack:
        try:
            directory = stack.enter_context(Directory.open(folder, parents, create=False))
        except (FileNotFoundError, CacheError):
            yield None
            return
        yield directory, name


def is_as_left(folder: Path, path: str, verified: VerifiedFiles) -> bool:
    """Return whether a file of the folder is as a restore left it, be it one that was killed.

    Args:
        folder: the folder.
        path: the file's path below it.
        verified: the folder's record.
    """
    with _parent(folder, path) as found:
        return found is not None and _is_unchanged(*found, path, verified)


def _is_unchanged(directory: Directory, name: str, path: str, verified: VerifiedFiles) -> bool:
    """Return whether a file is as a restore left it."""
    if not is_file(directory.stat(name)):
        return False
    if (chunks := verified.claimed_chunks(tuple(path.split("/")))) is not None:
        return _holds(directory, name, chunks)
    return verified.is_unchanged(directory.path / name) is True


def _holds(directory: Directory, name: str, chunks: Chunks) -> bool:
    try:
        with directory.file(name, os.O_RDONLY) as fd:
            offset = 0
            for chunk in chunks:
                buffer = bytearray(chunk.size)
                if read_at(fd, memoryview(buffer), offset) != chunk.size or hex_of(buffer) != chunk.digest:
                    return False
                offset += chunk.size
            return os.fstat(fd).st_size == offset
    except (OSError, CacheError):
        return False


def _remove_file(folder: Path, path: str, verified: VerifiedFiles) -> bool:
    with _parent(folder, path) as found:
        if found is None or not _is_unchanged(*found, path, verified):
            return False
        directory, name = found
        directory.remove(name)
        return True


def _remove_directory(folder: Path, path: str) -> bool:
    """Remove a directory if it is empty; return whether it is gone."""
    with _parent(folder, path) as found:
        return found is None or found[0].remove_directory(found[1])
