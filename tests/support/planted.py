"""What somebody may put where a program expects a small file."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path


def _clear(path: Path) -> Path:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _socket(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # the address of a socket has 108 bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


def _huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


PLANTS: dict[str, Callable[[Path], object]] = {
    "a named pipe": os.mkfifo,
    "a socket": _socket,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a terminal": lambda path: path.symlink_to("/dev/tty"),
    "a folder": lambda path: (path / "below").mkdir(parents=True),
    "a link in a circle": lambda path: path.symlink_to(path.name),
    "a terabyte": _huge,
    "nested lists": lambda path: path.write_bytes(b"[" * 200_000),
    "nested objects": lambda path: path.write_bytes(b'{"files":' * 200_000),
    "a nested entry": lambda path: path.write_bytes(
        b'{"format_version":1,"version":1,"files":{"x":' + b"[" * 800 + b"]" * 800 + b"}}"
    ),
    "other types": lambda path: path.write_bytes(b'{"format_version":1,"version":1,"files":["ab",["c",1]]}'),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\x00" * 20),
}
"""What to plant -> makes it at a path where nothing is."""

NO_FILES = ("a named pipe", "a socket", "a device", "a terminal", "a folder", "a link in a circle")
"""The plants that are no regular files."""


def plant(what: str, path: Path) -> None:
    """Put a plant in a file's place.

    Args:
        what: one of PLANTS.
        path: where; what is there is removed.
    """
    PLANTS[what](_clear(path))
