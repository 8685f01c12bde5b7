"""Files of the user's that appear whole: a reader finds all of the old content or all of the new."""

from __future__ import annotations

import os
from pathlib import Path

from cas.errors import CacheError
from cas.local.fs import sync, write_all


def write_whole(file: Path, data: bytes, advice: str, mode: int = 0o666) -> None:
    """Write a file under another name, and rename it; folders above it are made.

    Args:
        file: the file, which is replaced if it is there.
        data: its content.
        advice: what the error tells the user to do.
        mode: what the file may have of permissions, before the umask.

    Raises:
        CacheError: the file cannot be written.
    """
    private = file.with_name(f".{os.urandom(8).hex()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write(private, data, mode)
            private.replace(file)
        finally:
            private.unlink(missing_ok=True)
    except OSError as error:
        raise CacheError(f"{file} cannot be written ({error.strerror}): {advice}") from error


def create_whole(file: Path, data: bytes, advice: str, mode: int = 0o666) -> None:
    """Write a file that must not be there yet, and nothing when it is; its folder must be there.

    Args:
        file: the file.
        data: its content.
        advice: what the error tells the user to do.
        mode: what the file may have of permissions, before the umask; nobody ever sees it with more.

    Raises:
        CacheError: the file exists, or cannot be written.
    """
    try:
        try:
            _write(file, data, mode)
        except FileExistsError:
            raise
        except BaseException:
            file.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CacheError(f"{file} cannot be written ({error.strerror}): {advice}") from error


def _write(file: Path, data: bytes, mode: int) -> None:
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        write_all(fd, data)
        sync(fd)
    finally:
        os.close(fd)
