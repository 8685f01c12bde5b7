"""Directories opened one part at a time without following symlinks; all writes to a cache go through one.

A symlink planted where a restore is about to write must not lead it out of the cache. POSIX only: names
are resolved against directory descriptors (openat, renameat, symlinkat).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cas.errors import NO_PERMISSION, NO_SPACE, CacheError, DiskFull
from cas.formats.digest import Buffer

_FICLONE = 0x40049409

_FSYNC_UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_LINKS_UNSUPPORTED = (
    errno.EPERM,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EACCES,
    errno.EMLINK,
    errno.EXDEV,
)


class LinksUnsupported(Exception):
    """The file system cannot make this kind of link."""


class Folder:
    """An open directory and the writes a cache needs; use as a context manager."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path, self._fd = path, fd

    @classmethod
    def open(cls, root: Path, parts: Sequence[str] = (), *, create: bool = True) -> Folder:
        """The folder `parts` below `root`. The root may be reached through symlinks, what is below it may not.

        Raises CacheError when a part is a symlink or a file, or cannot be made; FileNotFoundError when absent
        and not to be created.
        """
        with explained(root):
            if create:
                root.mkdir(parents=True, exist_ok=True)
            folder = cls(root, os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        for part in parts:
            with folder:
                folder = folder.sub(part, create=create)
        return folder

    def sub(self, name: str, *, create: bool = True) -> Folder:
        """The folder `name` in this one; see `open`."""
        path = self.path / name
        with explained(path):
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=self._fd)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            return Folder(path, os.open(name, flags, dir_fd=self._fd))

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        # A thread left behind by an interrupt must not use the number when it stands for another folder.
        fd, self._fd = self._fd, -1
        os.close(fd)

    def names(self) -> list[str]:
        """What lies in it."""
        return os.listdir(self._fd)

    def stat(self, name: str) -> os.stat_result | None:
        """Of the entry itself, a symlink included; None when absent."""
        try:
            return os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def link_target(self, name: str) -> str | None:
        """Where the symlink `name` points; None when it is absent or no symlink."""
        try:
            return os.readlink(name, dir_fd=self._fd)
        except OSError:
            return None

    @contextlib.contextmanager
    def file(self, name: str, flags: int) -> Iterator[int]:
        """A descriptor of the file `name`, created readable by all that the umask allows."""
        with explained(self.path / name):
            fd = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=self._fd)
            try:
                yield fd
            finally:
                os.close(fd)

    def rename(self, name: str, into: Folder, new_name: str) -> None:
        """Moves a file, replacing what is there; raises FileNotFoundError when `name` is gone."""
        with explained(into.path / new_name):
            os.rename(name, new_name, src_dir_fd=self._fd, dst_dir_fd=into._fd)

    def write(self, name: str, data: bytes, scratch: Folder) -> None:
        """Writes a small file that appears whole. scratch: where it is until then."""
        with scratch.private() as private:
            with scratch.file(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as fd:
                write_all(fd, data)
                sync(fd)
            scratch.rename(private, self, name)

    def symlink(self, target: str, name: str, scratch: Folder) -> None:
        """Makes or replaces the symlink `name`; raises LinksUnsupported where the file system has none."""
        with scratch.private() as private:
            with explained(self.path / name), _links():
                os.symlink(target, private, dir_fd=scratch._fd)
            scratch.rename(private, self, name)

    def hardlink(self, source: Folder, source_name: str, name: str, scratch: Folder) -> None:
        """Makes `name` another name of a file; raises LinksUnsupported where the file system has none."""
        with scratch.private() as private:
            with explained(self.path / name), _links():
                os.link(source_name, private, src_dir_fd=source._fd, dst_dir_fd=scratch._fd, follow_symlinks=False)
            scratch.rename(private, self, name)

    @contextlib.contextmanager
    def private(self) -> Iterator[str]:
        """A name nobody else uses; what still bears it in the end is removed."""
        name = f"{os.urandom(8).hex()}.tmp"
        try:
            yield name
        finally:
            self.remove(name)

    def remove(self, name: str) -> None:
        """Removes a file; an absent one is no error."""
        with contextlib.suppress(FileNotFoundError), explained(self.path / name):
            os.unlink(name, dir_fd=self._fd)

    def sync(self) -> None:
        """Makes the names in it durable, where the file system can."""
        sync(self._fd)


def sync(fd: int) -> bool:
    """fsync; False where the file system does not offer it. Raises OSError when it fails: data may be lost."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno in _FSYNC_UNSUPPORTED:
            return False
        raise
    return True


def write_all(fd: int, data: Buffer, offset: int | None = None) -> None:
    """Writes all of `data`, at `offset` or at the descriptor's position."""
    view = memoryview(data)
    while view:
        done = os.write(fd, view) if offset is None else os.pwrite(fd, view, offset)
        view = view[done:]
        offset = None if offset is None else offset + done


def start_writing_out(fd: int, offset: int, size: int) -> None:
    """Has the kernel begin to write these bytes to disk, so that little is left for fsync to wait for.

    On Linux this is what POSIX_FADV_DONTNEED does to dirty pages (mm/fadvise.c); they stay in the page cache.
    """
    if sys.platform == "linux":
        os.posix_fadvise(fd, offset, size, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor to read a file by, wherever its path leads; raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        yield fd
    finally:
        os.close(fd)


def clone(source: int, target: int) -> bool:
    """Makes a file share the bytes of another, copied on write; False where the file system cannot (XFS, Btrfs can).

    The ioctl FICLONE of Linux (linux/fs.h).
    """
    if sys.platform != "linux":
        return False
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise
        return False
    return True


def can_clone(source: Path, beside: Path) -> bool:
    """Whether files in the folder `beside` can be clones of `source`; tried with a file that never has a name."""
    if sys.platform != "linux":
        return False
    try:
        with opened(source) as fd:
            trial = os.open(beside, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC)
            try:
                return clone(fd, trial)
            finally:
                os.close(trial)
    except OSError:
        return False


def read_at(fd: int, view: memoryview, offset: int) -> int:
    """Fills `view` from `offset` on as far as the file goes; the bytes read."""
    done = 0
    while done < len(view) and (got := os.preadv(fd, [view[done:]], offset + done)):
        done += got
    return done


def free_bytes(path: Path) -> int:
    """Space for ordinary users on the file system of `path`."""
    with explained(path):
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize


def existing(path: Path) -> Path:
    """`path`, or its nearest parent that can be seen."""
    while not os.path.exists(path) and path != path.parent:
        path = path.parent
    return path


def is_file(found: os.stat_result | None) -> bool:
    """Whether a stat says an ordinary file."""
    return found is not None and stat.S_ISREG(found.st_mode)


@contextlib.contextmanager
def _links() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _LINKS_UNSUPPORTED:
            raise LinksUnsupported(error.strerror) from error
        raise


@contextlib.contextmanager
def explained(path: Path, otherwise: Callable[[str], str] | None = None) -> Iterator[None]:
    """Turns an operating system's error into one that names the path and the way out.

    otherwise: the message for an error without one of its own, given the system's words.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in NO_SPACE:
            raise DiskFull(
                f"no room left for {path} ({error.strerror}): free some space, or choose another --cache-dir"
            ) from error
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise CacheError(
                f"{path} is a symlink or a file where a directory belongs: remove it and restore again"
            ) from error
        if error.errno in (errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY):
            raise CacheError(
                f"{path} is in the way, and is not what belongs there: remove it and restore again"
            ) from error
        if error.errno in NO_PERMISSION:
            raise CacheError(
                f"{path} cannot be written ({error.strerror}): check its owner and mode, or choose another --cache-dir"
            ) from error
        words = error.strerror or str(error)
        raise CacheError(otherwise(words) if otherwise else f"{path}: {words}") from error
