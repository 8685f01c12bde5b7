"""The listing of a directory store: regular files only, whatever else somebody left there."""

from __future__ import annotations

import datetime
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from cas.bucket.base import Entry
from cas.bucket.disk_errors import disk_error
from cas.bucket.listing import ForeignNames, flaw_of

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def list_directory(
    root: Path, prefix: str, foreign: ForeignNames, visit: Callable[[str], None] = lambda folder: None
) -> list[Entry]:
    """Return every file below a folder of a directory store, ordered by key; none when there is no such folder.

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
    found: list[Entry] = []
    top = root / prefix if prefix else root
    pending: list[tuple[str, str, frozenset[tuple[int, int]]]] = [(str(top), prefix, frozenset())]
    while pending:
        folder, key, parents = pending.pop()
        try:
            status = os.stat(folder)
            inode = status.st_dev, status.st_ino
            if inode in parents:
                foreign.skip(key, "it is a symlink to a folder that it is in")
                continue
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = f"{key}/{entry.name}" if key else entry.name
                    if (mode := _mode(entry)) is None:
                        if entry.is_symlink():
                            foreign.skip(name, "it is a symlink that leads nowhere")
                    elif flaw := flaw_of(name):
                        foreign.skip(name, flaw.replace("key", "name"))
                    elif stat.S_ISDIR(mode.st_mode):
                        pending.append((entry.path, name, parents | {inode}))
                    elif not stat.S_ISREG(mode.st_mode):
                        foreign.skip(name, "it is no regular file")
                    elif not _is_unfinished(entry.name):
                        found.append(_entry(name, mode))
            visit(key)
        except (FileNotFoundError, NotADirectoryError):
            continue  # somebody removed it meanwhile, or it never was
        except OSError as error:
            raise disk_error(error.errno or 0, f"list {key or '/'} in {root}", error.strerror or str(error)) from error
    return sorted(found)


def _is_unfinished(name: str) -> bool:
    """Whether a file has a name such as `NAME#12`: under that, `cas.bucket.durable` and obstore write it at first."""
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


def _entry(key: str, status: os.stat_result) -> Entry:
    microseconds = status.st_mtime_ns // 1000
    modified = _EPOCH + datetime.timedelta(microseconds=microseconds)
    # As obstore tags a file.
    return Entry(key, status.st_size, modified, f"{status.st_ino:x}-{microseconds:x}-{status.st_size:x}")
