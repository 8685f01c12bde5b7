"""What a file is called by its content, and whether one that nothing vouches for ends where its format says."""

from __future__ import annotations

import zipfile
from collections.abc import Collection
from pathlib import Path

from cas.errors import FormatError
from cas.formats import safetensors
from cas.local.fs import disk_errors
from cas.local.hf_cache import blob_hash

# What a hub keeps as LFS (and names by sha256) when no .gitattributes says otherwise: large files and binary ones.
_LFS_FROM = 10_000_000
_SAMPLE = 512

_BLOCK = 1024 * 1024
_SHA256, _SHA1 = 64, 40


def name_of(path: Path, names: Collection[str] = ()) -> str:
    """The one of `names` that is the name of a file's content; without any, the one that a hub would most likely give.

    Where it is none of them, its sha256 or git sha1, of the kind that was asked for.
    """
    with disk_errors(path), path.open("rb") as file:
        size = path.stat().st_size
        kinds = {len(name) for name in names} or {_SHA256 if _is_lfs(file.read(_SAMPLE), size) else _SHA1}
        running = [blob_hash("0" * kind, size) for kind in sorted(kinds)]
        file.seek(0)
        while block := file.read(_BLOCK):
            for each in running:
                each.update(block)
    found = [each.hexdigest() for each in running]
    return next((name for name in found if name in names), found[-1])


def check_whole(path: Path, name: str) -> None:
    """Raises FormatError for a file called `name` that is cut short, as far as safetensors and zip archives tell."""
    with disk_errors(path), path.open("rb") as file:
        size = path.stat().st_size
        if name.endswith(".safetensors"):
            length = safetensors.length(file.read(8), size)
            file.seek(0)
            safetensors.parse(file.read(length), size)
        elif file.read(4) == b"PK\3\4" and not zipfile.is_zipfile(path):
            raise FormatError("it begins as a zip archive and has no end")


def _is_lfs(sample: bytes, size: int) -> bool:
    return size >= _LFS_FROM or b"\0" in sample
