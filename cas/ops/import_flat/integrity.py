"""Names files by their content, and checks that a loader can load a file whose content nothing names."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from cas.formats import loadable
from cas.local.fs import disk_errors, open_binary
from cas.local.hf_cache import blob_hash

# A hub keeps large files and binary files as LFS, and names them by sha256, unless a .gitattributes says otherwise.
_LFS_FROM = 10_000_000  # bytes
_SAMPLE = 512

_BLOCK = 1024 * 1024
_SHA256, _SHA1 = 64, 40


def content_name(path: Path, names: Collection[str] = ()) -> str:
    """Hash a file, and return the name of its content.

    Args:
        path: the file.
        names: the names that its content may have, sha256 (64 hex) or git sha1 (40 hex).

    Returns:
        The one of `names` that fits. If none fits, the file's sha256 or git sha1, of a kind that `names` has. Without
        `names`, the name that a hub would most likely give it.
    """
    with disk_errors(path), open_binary(path) as file:
        size = os.fstat(file.fileno()).st_size
        kinds = {len(name) for name in names} or {_SHA256 if _is_lfs(file.read(_SAMPLE), size) else _SHA1}
        hashes = [blob_hash("0" * kind, size) for kind in sorted(kinds)]
        file.seek(0)
        while block := file.read(_BLOCK):
            for running in hashes:
                running.update(block)
    found = [running.hexdigest() for running in hashes]
    return next((name for name in found if name in names), found[-1])


def check_loadable(path: Path, name: str) -> None:
    """Raise FormatError if a file is cut short, or a web page under the name of another file.

    Args:
        path: the file.
        name: the name it is published by.
    """
    with disk_errors(path), open_binary(path) as file:
        loadable.check_no_page(file, name)
        loadable.check_complete(file, os.fstat(file.fileno()).st_size, name)


def _is_lfs(sample: bytes, size: int) -> bool:
    return size >= _LFS_FROM or b"\0" in sample
