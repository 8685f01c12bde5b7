"""Which file paths a manifest may name, and which paths a glob pattern matches.

A manifest is hostile until proven otherwise. A path must mean the same file below the same root on POSIX and on
Windows, and no two paths of one tree may be the same file on any system. Source of the Windows rules: Microsoft,
"Naming Files, Paths, and Namespaces".
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
"""The most bytes of a path in UTF-8; S3 keys have the same limit."""

PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
"""Endings of the names of pickle files. They hold weights, and reading a pickle runs the code in it."""

PLAIN_FILE_FOLDER = "torch"
"""The one folder of HF_HOME that a version may put plain files into: TORCH_HOME."""

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"|?*\\]')
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\.|$)", re.IGNORECASE)


def check_path(path: str) -> None:
    """Raise FormatError unless `path` is relative, normalised, and safe on POSIX and Windows."""
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        raise _refused(path, "is not valid Unicode") from None
    if not path or len(encoded) > MAX_PATH:
        raise _refused(path, f"has {len(encoded)} bytes; 1 to {MAX_PATH} are allowed")
    if found := _FORBIDDEN.search(path):
        raise _refused(path, f"contains {found.group()!r}")
    for component in path.split("/"):
        if component in ("", ".", ".."):
            raise _refused(path, f"has the part {component!r}")
        if len(component.encode()) > 255:
            raise _refused(path, "has a part of more than 255 bytes")
        if component[-1] in ". ":
            raise _refused(path, f"has the part {component!r}, whose end Windows drops")
        if _RESERVED.match(component):
            raise _refused(path, f"has the part {component!r}, a device name on Windows")


def check_tree(paths: Iterable[str]) -> None:
    """Raise FormatError when two paths would be one file, or one path would be a file and a directory at once.

    Two paths that differ only in case or Unicode normalisation are refused: they are one file on macOS and Windows.
    """
    tree = []
    for path in paths:
        check_path(path)
        tree.append((f"{fold(path)}/", path))
    # Each path ends with "/" here, so everything in one directory is consecutive after sorting, and comparing each path
    # with the next is enough. A table of all directories could outgrow memory.
    tree.sort()
    for (folded, path), (next_folded, next_path) in pairwise(tree):
        if next_folded == folded:
            raise _refused(next_path, f"is the same file as {_shown(path)} on some systems")
        if next_folded.startswith(folded):
            raise _refused(next_path, f"needs {_shown(path)} to be a folder, which is a file")
        shared = commonprefix((folded, next_folded)).count("/")  # noqa: RUF071 (by character: a "/" ends a component)
        folder, next_folder = path.split("/")[:shared], next_path.split("/")[:shared]
        if folder != next_folder:
            raise _refused(next_path, f"has a folder that is {_shown('/'.join(folder))} on some systems")


def check_plain_path(path: str) -> None:
    """Raise FormatError unless a plain file may have this path below HF_HOME.

    Plain files lie below `torch/`, spelled so, byte by byte: everything else in HF_HOME is the user's (tokens), code
    that clients import (`modules`), configuration that they obey (`accelerate`), or has rules of its own (`hub`,
    `.cas`, a worker's `.cas-worker`). Names with a leading dot are configuration by custom, and ours.

    Args:
        path: one that `check_path` accepts.
    """
    if not path.startswith(f"{PLAIN_FILE_FOLDER}/"):
        raise _refused(
            path, f"is not below {PLAIN_FILE_FOLDER}/, where alone a version may have files outside its repos"
        )
    if is_hidden(path):
        raise _refused(path, "has a part that begins with a dot")


def is_hidden(path: str) -> bool:
    """Return whether a component of `path` begins with a dot, on any file system.

    HFS+ ignores invisible characters in names, and some network volumes fold look-alikes of a dot.
    """
    path = _visible(path)
    return path.startswith(".") or "/." in path


def looks_like(component: str, name: str) -> bool:
    """Return whether some file system takes `component` for the ASCII name `name`, as HFS+ takes one with joiners."""
    return _visible(component).casefold() == name


def _visible(path: str) -> str:
    if not path.isascii():
        visible = "".join(char for char in path if unicodedata.category(char) != "Cf")
        path = unicodedata.normalize("NFKC", visible)
    return path


def fold(path: str) -> str:
    """Return a form that is equal for paths that differ only in case or normalisation; it has every "/" of `path`.

    Source: Unicode 16, section 3.13, D145 (canonical caseless matching). D145 decomposes once more at the end, which
    changes nothing: whatever Unicode folds, it folds decomposed text to decomposed text. A test tries every character.
    """
    return unicodedata.normalize("NFD", path).casefold()


def _shown(path: str) -> str:
    return ascii(path if len(path) <= 120 else path[:117] + "...")


def match_patterns(paths: Iterable[str], patterns: Sequence[str]) -> tuple[set[str], list[str]]:
    """Match paths against glob patterns by huggingface_hub's rules.

    Returns:
        The paths that match any pattern, and the patterns that match no path.
    """
    every_path = set(paths)
    matched: set[str] = set()
    unmatched = []
    for pattern in patterns:
        whole = pattern + "*" if pattern.endswith("/") else pattern
        found = {path for path in every_path if fnmatch.fnmatchcase(path, whole)}
        matched |= found
        if not found:
            unmatched.append(pattern)
    return matched, unmatched


def _refused(path: str, reason: str) -> FormatError:
    return FormatError(f"path {_shown(path)} {reason}: refusing the manifest")
