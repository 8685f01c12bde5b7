"""The listing of a directory store: regular files only, whatever else somebody left there."""

from __future__ import annotations

import datetime
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from cas.bucket.base import Entries, Entry
from cas.bucket.errors.disk import disk_error
from cas.bucket.listing import PAGE, ForeignNames, flaw_of

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class _Folder(NamedTuple):
    """A folder to read.

    Attributes:
        path: where it is.
        key: what the keys of its files begin with; empty for the store's directory.
        parents: device and inode of each folder that it is in.
    """

    path: str
    key: str
    parents: frozenset[tuple[int, int]]


def list_directory(root: Path, prefix: str, foreign: ForeignNames, visit: Callable[[str], None]) -> Iterator[Entries]:
    """Yield every file below a folder of a directory store, some folders at a time; none when there is no such folder.

    Folders come in the order of their names, and so do the files of each.

    Symlinks are followed, each folder once on a path. A fifo, a device, a symlink that leads nowhere or in a circle,
    and a name that is no text are left out.

    Args:
        root: the directory of the store.
        prefix: the folder, without slashes at its ends; empty for the whole store.
        foreign: is told of what is left out.
        visit: is told each folder (the parent of keys; empty for the top one) that was read.

    Raises:
        CasError: a folder or file cannot be looked at; what a listing cannot see must not pass for absent.
    """
    found: Entries = []
    pending = [_Folder(str(root / prefix if prefix else root), prefix, frozenset())]
    while pending:
        folder = pending.pop()
        files: Entries = []
        subfolders: list[_Folder] = []
        try:
            _read(folder, foreign, files, subfolders)
            visit(folder.key)
        except (FileNotFoundError, NotADirectoryError):
            pass  # somebody removed it meanwhile, or it never was
        except OSError as error:
            what = f"list {folder.key or '/'} in {root}"
            raise disk_error(error.errno or 0, what, error.strerror or str(error)) from error
        found += sorted(files)  # those that a folder showed before it was removed, too
        pending += sorted(subfolders, key=lambda folder: folder.key, reverse=True)
        if len(found) >= PAGE:
            yield found
            found = []
    if found:
        yield found


def _read(folder: _Folder, foreign: ForeignNames, files: Entries, subfolders: list[_Folder]) -> None:
    """Add what is in a folder to `files` and `subfolders`; raise OSError when it cannot be looked at."""
    status = os.stat(folder.path)
    inode = status.st_dev, status.st_ino
    if inode in folder.parents:
        foreign.skip(folder.key, "it is a symlink to a folder that it is in")
        return
    with os.scandir(folder.path) as entries:
        for entry in entries:
            name = f"{folder.key}/{entry.name}" if folder.key else entry.name
            if (mode := _mode(entry)) is None:
                if entry.is_symlink():
                    foreign.skip(name, "it is a symlink that leads nowhere")
            elif flaw := flaw_of(name):
                foreign.skip(name, flaw.replace("key", "name"))
            elif stat.S_ISDIR(mode.st_mode):
                subfolders.append(_Folder(entry.path, name, folder.parents | {inode}))
            elif not stat.S_ISREG(mode.st_mode):
                foreign.skip(name, "it is no regular file")
            elif not _is_unfinished(entry.name):
                files.append(entry_of(name, mode))


def _is_unfinished(name: str) -> bool:
    """Whether a file has a name such as `NAME#12`: under that, `durable` and obstore write it at first."""
    mark, number = name.rpartition("#")[1:]
    return bool(mark) and number.isascii() and number.isdigit()


def _mode(entry: os.DirEntry[str]) -> os.stat_result | None:
    """The status of what an entry is or leads to; None for one that was removed, or that leads nowhere."""
    try:
        return entry.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            return None
        raise


def entry_of(key: str, status: os.stat_result) -> Entry:
    """Return the entry of a regular file, given its key and its status."""
    microseconds = status.st_mtime_ns // 1000
    modified = _EPOCH + datetime.timedelta(microseconds=microseconds)
    # As obstore tags a file.
    return Entry(key, status.st_size, modified, f"{status.st_ino:x}-{microseconds:x}-{status.st_size:x}")
