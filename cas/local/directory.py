"""Directories that are opened one component at a time without following symlinks.

All writes to a cache go through such a directory, so a symlink that somebody planted below the cache's root cannot
lead a restore out of the cache (decision 4). POSIX only: names are resolved against directory descriptors (openat,
renameat, symlinkat).
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from cas.errors import CacheError
from cas.local.fs import check_regular, disk_errors, read_at, sync, write_all

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
    """The file system cannot make a link of the requested kind (symlink or hard link)."""


class Directory:
    """An open directory and the writes that a cache needs; use as a context manager.

    Several writes take a `scratch` directory on the same file system: what they write has a temporary name there and
    is renamed when it is complete, so nobody ever sees half of it under its final name.

    Attributes:
        path: where the directory was when it was opened, for messages.
    """

    def __init__(self, path: Path, fd: int) -> None:
        self.path, self._fd = path, fd

    @classmethod
    def open(cls, root: Path, components: Sequence[str] = (), *, create: bool = True) -> Directory:
        """Open a directory below `root`.

        Args:
            root: may be reached through symlinks; nothing below it may.
            components: the path below `root`.
            create: make directories that are missing.

        Raises:
            CacheError: a component is a symlink or a file, or cannot be made.
            FileNotFoundError: a directory is missing and `create` is false.
        """
        with disk_errors(root):
            if create:
                root.mkdir(parents=True, exist_ok=True)
            directory = cls(root, os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        for component in components:
            with directory:
                directory = directory._child(component, create=create)
        return directory

    def _child(self, name: str, *, create: bool) -> Directory:
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
        # An interrupt may leave a thread behind: it must not use this number once it stands for another file.
        fd, self._fd = self._fd, -1
        os.close(fd)

    def names(self) -> list[str]:
        """Return the names of the directory's entries."""
        return os.listdir(self._fd)

    def stat(self, name: str) -> os.stat_result | None:
        """Return the stat of the entry `name`, of a symlink itself and not of its target; None when it is absent."""
        try:
            return os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def readlink(self, name: str) -> str | None:
        """Return what the symlink `name` says; None when it is absent or no symlink."""
        try:
            return os.readlink(name, dir_fd=self._fd)
        except OSError:
            return None

    def read(self, name: str, limit: int) -> bytes | None:
        """Return the content of the file `name`; None when it is absent, no regular file, or larger than `limit`.

        Args:
            name: the entry; a symlink is not followed.
            limit: the most bytes that it may have.
        """
        try:
            with self.file(name, os.O_RDONLY) as fd:
                data = bytearray(min(os.fstat(fd).st_size, limit) + 1)
                done = read_at(fd, memoryview(data), 0)
        except (CacheError, FileNotFoundError):
            return None
        return bytes(memoryview(data)[:done]) if done <= limit else None

    @contextlib.contextmanager
    def file(self, name: str, flags: int) -> Iterator[int]:
        """Open the file `name` and yield its descriptor; a new file may be read by everybody the umask allows.

        Args:
            name: the entry; a symlink, a named pipe or anything else that is no regular file is refused at once.
            flags: of os.open, such as os.O_RDONLY.
        """
        with disk_errors(self.path / name):
            flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            fd = os.open(name, flags, 0o666, dir_fd=self._fd)
            try:
                check_regular(fd, self.path / name)
                yield fd
            finally:
                os.close(fd)

    def rename(self, name: str, into: Directory, new_name: str) -> None:
        """Move the file `name` to `into`, replacing a file of the new name; raises FileNotFoundError if it is gone.

        A directory may be moved, too, to a name that nothing has.
        """
        with disk_errors(into.path / new_name):
            os.rename(name, new_name, src_dir_fd=self._fd, dst_dir_fd=into._fd)

    def write(self, name: str, data: bytes, scratch: Directory, *, durable: bool = True) -> None:
        """Write a small file that appears whole; an existing one is replaced.

        Args:
            name: the entry.
            data: its content.
            scratch: where it is written first.
            durable: sync it, so that a power cut takes nothing back; without that, the file may be lost or empty.
        """
        with scratch.temporary_name() as temporary:
            with scratch.file(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as fd:
                write_all(fd, data)
                if durable:
                    sync(fd)
            scratch.rename(temporary, self, name)

    def symlink(self, target: str, name: str, scratch: Directory) -> None:
        """Make or replace the symlink `name`; raises LinksUnsupported where the file system has no symlinks."""
        with scratch.temporary_name() as temporary:
            with disk_errors(self.path / name), _link_errors():
                os.symlink(target, temporary, dir_fd=scratch._fd)
            scratch.rename(temporary, self, name)

    def hardlink(self, source: Directory, source_name: str, name: str, scratch: Directory) -> None:
        """Make `name` a hard link to a file in `source`; raises LinksUnsupported where the file system has none."""
        with scratch.temporary_name() as temporary:
            with disk_errors(self.path / name), _link_errors():
                os.link(source_name, temporary, src_dir_fd=source._fd, dst_dir_fd=scratch._fd, follow_symlinks=False)
            scratch.rename(temporary, self, name)

    @contextlib.contextmanager
    def temporary_name(self) -> Iterator[str]:
        """Yield a name that nobody else uses; a file that still has it at the end of the block is removed."""
        name = f"{os.urandom(8).hex()}.tmp"
        try:
            yield name
        finally:
            self.remove(name)

    def remove(self, name: str) -> None:
        """Remove the file `name`; an absent file is no error."""
        with contextlib.suppress(FileNotFoundError), disk_errors(self.path / name):
            os.unlink(name, dir_fd=self._fd)

    def remove_directory(self, name: str) -> bool:
        """Remove the directory `name` if it is empty; return whether it is gone."""
        try:
            os.rmdir(name, dir_fd=self._fd)
        except FileNotFoundError:
            return True
        except OSError:  # it is not empty, or no directory, or not ours to remove
            return False
        return True

    def remove_tree(self, name: str) -> None:
        """Remove the directory `name` with all that is in it, following no symlink; an absent one is no error."""
        import shutil  # takes milliseconds to import, and no restore needs it

        shutil.rmtree(name, ignore_errors=True, dir_fd=self._fd)

    def touch(self, name: str) -> None:
        """Set the times of the file `name` to now, and make it if it is absent."""
        with self.file(name, os.O_RDWR | os.O_CREAT) as fd:
            os.utime(fd)

    def sync(self) -> None:
        """Make the names in this directory durable, where the file system can."""
        sync(self._fd)


@contextlib.contextmanager
def _link_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _LINKS_UNSUPPORTED:
            raise LinksUnsupported(error.strerror) from error
        raise
