"""Manifests as Python dictionaries, which a test changes in one value to make them wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

EMPTY = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
"""The git sha1 of an empty file."""


def document(
    repo: Sequence[str] = (), plain_files: Sequence[str] = (), refs: Sequence[str] = ("main",)
) -> dict[str, Any]:
    """Return a manifest whose files are all empty.

    Args:
        repo: paths of the files of its one repo.
        plain_files: paths of the files outside any repo.
        refs: the repo's refs.
    """
    return {
        "version": 2,
        "model": "m",
        "repos": [
            {
                "repo_id": "org/model",
                "repo_type": "model",
                "commit": "0" * 40,
                "refs": list(refs),
                "files": [{"path": path, "size": 0, "blob": EMPTY, "chunks": []} for path in repo],
            }
        ],
        "files": [{"path": path, "size": 0, "chunks": []} for path in plain_files],
        "derived": None,
        "annotations": {},
    }


def encoded(value: object) -> bytes:
    """Return a value as JSON in the form of a manifest: in the order given, without white space, UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
