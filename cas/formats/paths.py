"""Which file paths a manifest may name, and which a pattern means. A manifest is hostile until proven otherwise.

A path must mean the same file below the same root on POSIX and on Windows, and no two paths of one
tree may be the same file anywhere. Source of the Windows rules: Microsoft, "Naming Files, Paths, and
Namespaces".
"""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise
from os.path import commonprefix

from cas.errors import FormatError

MAX_PATH = 1024
"""Bytes of a path in UTF-8; S3 keys end there too."""

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"|?*\\]')
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\.|$)", re.IGNORECASE)


def check_path(path: str) -> None:
    """Raises FormatError unless `path` is a relative, normalised path, safe on POSIX and Windows."""
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        raise _refused(path, "is not valid Unicode") from None
    if not path or len(encoded) > MAX_PATH:
        raise _refused(path, f"has {len(encoded)} bytes; 1 to {MAX_PATH} are allowed")
    if found := _FORBIDDEN.search(path):
        raise _refused(path, f"contains {found.group()!r}")
    for part in path.split("/"):
        if part in ("", ".", ".."):
            raise _refused(path, f"has the part {part!r}")
        if len(part.encode()) > 255:
            raise _refused(path, "has a part of more than 255 bytes")
        if part[-1] in ". ":
            raise _refused(path, f"has the part {part!r}, whose end Windows drops")
        if _RESERVED.match(part):
            raise _refused(path, f"has the part {part!r}, a device name on Windows")


def check_tree(paths: Iterable[str]) -> None:
    """Raises FormatError when two paths would be one file, or one path a file and a folder at once.

    Twins by case or by Unicode normalisation count: they are one file on macOS and Windows.
    """
    tree = []
    for path in paths:
        check_path(path)
        tree.append((f"{_folded(path)}/", path))
    # With "/" at the end, whatever a folder holds comes in one row, so that only neighbours need comparing. A table
    # of all folders could outgrow memory.
    tree.sort()
    for (folded, path), (next_folded, next_path) in pairwise(tree):
        if next_folded == folded:
            raise _refused(next_path, f"is the same file as {_shown(path)} on some systems")
        if next_folded.startswith(folded):
            raise _refused(next_path, f"needs {_shown(path)} to be a folder, which is a file")
        shared = commonprefix((folded, next_folded)).count("/")  # noqa: RUF071 (by character: a "/" ends a part)
        folder, next_folder = path.split("/")[:shared], next_path.split("/")[:shared]
        if folder != next_folder:
            raise _refused(next_path, f"has a folder that is {_shown('/'.join(folder))} on some systems")


def _folded(path: str) -> str:
    """Equal for caseless, canonically equivalent texts (Unicode 16, section 3.13, D145); keeps every "/"."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())


def _shown(path: str) -> str:
    return ascii(path if len(path) <= 120 else path[:117] + "...")


def matching(paths: Iterable[str], patterns: Sequence[str]) -> tuple[set[str], list[str]]:
    """The paths that a glob pattern matches, as huggingface_hub matches them; and the patterns without a match."""
    everything = set(paths)
    found: set[str] = set()
    unmatched = []
    for pattern in patterns:
        whole = pattern + "*" if pattern.endswith("/") else pattern
        matched = {path for path in everything if fnmatch.fnmatchcase(path, whole)}
        found |= matched
        if not matched:
            unmatched.append(pattern)
    return found, unmatched


def _refused(path: str, reason: str) -> FormatError:
    return FormatError(f"path {_shown(path)} {reason}: refusing the manifest")
