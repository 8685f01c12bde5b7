"""Limits of the small files in a hub cache, which anybody who can write there may have put there.

We read them through `fs.read_bounded`. huggingface_hub opens them as they are: they are looked at before it works on a
repo.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from cas.local.fs import check_size, disk_errors

if TYPE_CHECKING:
    from cas.local.hf_cache import RepoCache

MAX_REF = 4096
"""Bytes of the largest file of a ref that is read; a commit has 40."""

MAX_TREE = 32 * 1024 * 1024
"""Bytes of the largest tree listing that is read: about 100,000 files."""

MAX_TREE_DEPTH = 4
"""Containers that may lie inside each other in the entries of a tree listing; those that clients write have two."""


def check_before_download(cache: RepoCache, revision: str) -> None:
    """Refuse a repo in whose cache huggingface_hub would wait for ever for a named pipe, or read without end.

    It opens the ref, the tree listings and the files of unfinished downloads without a look at what they are.

    Args:
        cache: the repo.
        revision: the ref or commit that will be downloaded.

    Raises:
        CacheError: one of these files is no regular file, or too large.
    """
    ref = cache.root.joinpath(*cache.ref_components(revision))
    unfinished = [path for path in _entries(cache.root / "blobs") if path.name.endswith(".incomplete")]
    limits: dict[Path, int | None] = dict.fromkeys(_entries(cache.root / "trees"), MAX_TREE)
    for path, limit in {ref: MAX_REF, **limits, **dict.fromkeys(unfinished)}.items():
        with (
            contextlib.suppress(FileNotFoundError),
            disk_errors(path, lambda words, path=path: f"{path}: {words}: remove it and try again"),  # type: ignore[misc]
        ):
            check_size(path, limit)


def is_shallow(value: object, depth: int) -> bool:
    """Return whether at most `depth` containers of a JSON value lie inside each other."""
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(is_shallow(item, depth - 1) for item in inner)


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []
