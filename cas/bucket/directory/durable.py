"""Writing into a directory so that a power cut undoes nothing that was acknowledged.

    write     a file of another name, fsync, then a link or a rename gives it its own name
    settle    fsync of folders, so that the names in them are on the disk, and of the folders above, which hold theirs

Bytes come before names one by one, because a name that is there counts as stored: a file system may keep the name of a
file and lose its bytes, and a later publish would build on an empty chunk. Names come in groups, because a folder costs
one fsync for all its names.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import threading
from collections.abc import Awaitable, Callable, Collection, Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from cas.bucket.errors.disk import disk_error
from cas.errors import NO_FSYNC, NO_PERMISSION, ObjectExists
from cas.formats.digest import Buffer
from cas.host import WRITE_AT_ONCE
from cas.parallel import for_each

P = ParamSpec("P")
T = TypeVar("T")

# obstore escapes other keys. No key of a store is one of those.
_PLAIN_KEY = re.compile(r"(?!\.\.?(?:/|$))[A-Za-z0-9._-]+(?:/(?!\.\.?(?:/|$))[A-Za-z0-9._-]+)*")
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_NO_FOLDER_FSYNC = (*NO_FSYNC, errno.EBADF)  # some systems sync no folders at all
_THREADS = 16
"""Files or folders that are synced at once: the journal of a file system commits them together."""


class DurableDirectory:
    """The writing side of a directory store."""

    def __init__(self, root: str) -> None:
        """Write nothing yet. root: the directory of the store, absolute."""
        self._root = root
        self._threads = ThreadPoolExecutor(_THREADS + 1, thread_name_prefix="cas-write")
        self._settling = threading.Lock()
        self._named: set[str] = set()  # paths of folders whose own names are durable

    def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        """Start `work` with its arguments in a thread for writing; call this on an event loop."""
        return asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*args, **kwargs))

    @staticmethod
    def can_write(key: str) -> bool:
        """Whether the path of an object below the directory is its key as it stands."""
        return _PLAIN_KEY.fullmatch(key) is not None

    def write(self, key: str, data: Buffer, replace: bool, abandoned: threading.Event) -> None:
        """Write an object, which gets its name when its bytes are on the disk.

        Args:
            key: the object.
            data: its bytes.
            replace: whether it may replace an object.
            abandoned: set when the caller does not want the object any more; it then gets no name.

        Raises:
            ObjectExists: there is such an object, and `replace` is False.
            CasError: the disk is full or broken, or refuses.
        """
        path = os.path.join(self._root, key)
        # Listings leave out names that end so; obstore gives them to its own unfinished files.
        scratch = f"{path}#{int.from_bytes(os.urandom(6))}"
        with _disk_errors(f"put {key} in {self._root}"):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            try:
                with open(scratch, "xb", buffering=0) as file:
                    view = memoryview(data)
                    while view:
                        view = view[file.write(view[:WRITE_AT_ONCE]) :]
                    _sync(file.fileno(), NO_FSYNC)
                if abandoned.is_set():
                    return
                if replace:
                    os.rename(scratch, path)
                else:
                    self._create(scratch, path, key)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(scratch)

    def _create(self, scratch: str, path: str, key: str) -> None:
        try:
            os.link(scratch, path)
        except FileExistsError:
            raise ObjectExists(key, self._root) from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # This file system has no hard links. Two writers at the same moment may both succeed, as with a server that
            # knows no conditional writes.
            if os.path.lexists(path):
                raise ObjectExists(key, self._root) from None
            os.rename(scratch, path)

    def settle(self, take: Callable[[], Set[str]], give_back: Callable[[Set[str]], None]) -> None:
        """Make the names in folders durable, and the names of those folders.

        Args:
            take: returns the folders (parents of keys), which nobody else settles then. It is called once no other
                call of `settle` is at work, so that none returns before a name that it should have settled is durable.
            give_back: takes the folders if that fails.

        Raises:
            CasError: the disk failed or refused.
        """
        with self._settling:
            taken = take()
            try:
                self._sync_folders({os.path.join(self._root, folder) if folder else self._root for folder in taken})
            except BaseException:
                give_back(taken)
                raise

    def _sync_folders(self, folders: Set[str]) -> None:
        # By path, whether the folder belongs to the store.
        chosen: dict[str, bool] = {}
        for folder in folders:
            chosen.update((path, True) for path in self._path_up(folder))
        if self._root in chosen and self._root not in self._named:
            # The folders above may have been made with the store, or be those of others, which cannot be opened.
            chosen.update((folder, False) for folder in _ancestors(os.path.realpath(self._root)))
        if chosen:
            work = sorted(chosen.items())
            for_each(lambda item: _sync_folder(*item), work, threads=min(_THREADS, len(work)))
        self._named.update(folder for folder, is_ours in chosen.items() if is_ours)

    def _path_up(self, folder: str) -> Iterator[str]:
        """A folder, and those above it in the store up to the first whose own name is durable."""
        yield folder
        while folder not in self._named and folder != self._root:
            folder = os.path.dirname(folder)
            yield folder


def _ancestors(path: str) -> Iterator[str]:
    """The folders above a path, up to that where its file system is mounted."""
    while not os.path.ismount(path):
        path = os.path.dirname(path)
        yield path


def _sync_folder(path: str, is_ours: bool) -> None:
    with _disk_errors(f"sync {path}"):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # what was in it went with it
        except OSError as error:
            if is_ours or error.errno not in NO_PERMISSION:
                raise
            return
        try:
            _sync(fd, _NO_FOLDER_FSYNC)
        finally:
            os.close(fd)


def _sync(fd: int, unsupported: Collection[int]) -> None:
    """Sync a file or folder. unsupported: the errno values by which a file system says that it offers no fsync."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in unsupported:
            raise


@contextlib.contextmanager
def _disk_errors(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_error(error.errno or 0, what, error.strerror or str(error)) from error
