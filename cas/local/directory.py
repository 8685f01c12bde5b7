"""Directories opened one component at a time without following symlinks; all writes to a cache go through one.

A symlink planted where a restore is about to write must not lead it out of the cache. POSIX only: names
are resolved against directory descriptors (openat, renameat, symlinkat).
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from cas.local.fs import disk_errors, sync, write_all

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


class Directory:
    """An open directory and the writes a cache needs; use as a context manager."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path, self._fd = path, fd

    @classmethod
    def open(cls, root: Path, parts: Sequence[str] = (), *, create: bool = True) -> Directory:
        """The folder `parts` below `root`. The root may be reached through symlinks, what is below it may not.

        Raises CacheError when a part is a symlink or a file, or cannot be made; FileNotFoundError when absent
        and not to be created.
        """
        with disk_errors(root):
            if create:
                root.mkdir(parents=True, exist_ok=True)
            folder = cls(root, os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        for part in parts:
            with folder:
                folder = folder.sub(part, create=create)
        return folder

    def sub(self, name: str, *, create: bool = True) -> Directory:
        """The folder `name` in this one; see `open`."""
        path = self.path / name
        with disk_errors(path):
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=self._fd)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            return Directory(path, os.open(name, flags, dir_fd=self._fd))

    def __enter__(self) -> Directory:
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

    @contextlib.contextmanager
    def file(self, name: str, flags: int) -> Iterator[int]:
        """A descriptor of the file `name`, created readable by all that the umask allows."""
        with disk_errors(self.path / name):
            fd = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=self._fd)
            try:
                yield fd
            finally:
                os.close(fd)

    def rename(self, name: str, into: Directory, new_name: str) -> None:
        """Moves a file, replacing what is there; raises FileNotFoundError when `name` is gone."""
        with disk_errors(into.path / new_name):
            os.rename(name, new_name, src_dir_fd=self._fd, dst_dir_fd=into._fd)

    def write(self, name: str, data: bytes, scratch: Directory) -> None:
        """Writes a small file that appears whole. scratch: where it is until then."""
        with scratch.temporary_name() as private:
            with scratch.file(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as fd:
                write_all(fd, data)
                sync(fd)
            scratch.rename(private, self, name)

    def symlink(self, target: str, name: str, scratch: Directory) -> None:
        """Makes or replaces the symlink `name`; raises LinksUnsupported where the file system has none."""
        with scratch.temporary_name() as private:
            with disk_errors(self.path / name), _link_errors():
                os.symlink(target, private, dir_fd=scratch._fd)
            scratch.rename(private, self, name)

    def hardlink(self, source: Directory, source_name: str, name: str, scratch: Directory) -> None:
        """Makes `name` another name of a file; raises LinksUnsupported where the file system has none."""
        with scratch.temporary_name() as private:
            with disk_errors(self.path / name), _link_errors():
                os.link(source_name, private, src_dir_fd=source._fd, dst_dir_fd=scratch._fd, follow_symlinks=False)
            scratch.rename(private, self, name)

    @contextlib.contextmanager
    def temporary_name(self) -> Iterator[str]:
        """A name nobody else uses; what still bears it in the end is removed."""
        name = f"{os.urandom(8).hex()}.tmp"
        try:
            yield name
        finally:
            self.remove(name)

    def remove(self, name: str) -> None:
        """Removes a file; an absent one is no error."""
        with contextlib.suppress(FileNotFoundError), disk_errors(self.path / name):
            os.unlink(name, dir_fd=self._fd)

    def sync(self) -> None:
        """Makes the names in it durable, where the file system can."""
        sync(self._fd)


@contextlib.contextmanager
def _link_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _LINKS_UNSUPPORTED:
            raise LinksUnsupported(error.strerror) from error
        raise
