"""What some syncs leave in a file's place: nothing at all, the mark of a folder, or the text of its symlink.

Symlinks of a cache are followed by `aws s3 sync`, s5cmd and boto3; left out by rclone and s3cmd; kept as objects that
hold their text by s3fs and `rclone --links`, and as empty objects by gcsfuse and GeeseFS.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from cas.bucket import Bucket, Entry
from cas.errors import IntegrityError
from cas.parallel import for_each

# Formats of which no bytes are no file.
_NEVER_EMPTY = re.compile(
    r"\.(bin|ckpt|gguf|h5|json|model|msgpack|np[yz]|onnx|pickle|pkl|pt|pth|safetensors|toml|ya?ml)$", re.IGNORECASE
)
_LINK = re.compile(
    rb"(?:(?:\.\.[/\\])+|/)(?:[^\0\r\n]+[/\\])?blobs[/\\](?:[0-9a-f]{2}[/\\])?(?P<blob>[^/\\\s]+)\s*", re.DOTALL
)
_POINTER = b"version https://git-lfs.github.com/spec/"
_TEXT_LIMIT = 1024
_REQUESTS = 8


def without_marks(bucket: Bucket, files: Mapping[str, Entry]) -> dict[str, Entry]:
    """`files` (objects by path) without the marks of empty folders, whose keys end with a slash that listings drop."""
    return {path: entry for path, entry in files.items() if entry.size or bucket.exists(entry.key)}


def check_all_real(bucket: Bucket, empty: Iterable[Entry], unknown: Iterable[Entry], otherwise: str) -> None:
    """Raises IntegrityError for an object that stands in for a file.

    empty: objects that may be empty for no better reason. unknown: those that nothing will be compared with; small
    ones are read. otherwise: what to do if no better sync can be had.
    """
    wrong = {
        entry.key: f"is empty, as no {kind[0]} file is"
        for entry in empty
        if not entry.size and (kind := _NEVER_EMPTY.search(entry.key))
    }

    def look(entry: Entry) -> None:
        if found := stand_in(bucket, entry):
            wrong[entry.key] = found

    for_each(look, unknown, threads=_REQUESTS)
    if wrong:
        key = min(wrong)
        raise refusal(f"{bucket.url}/{key}", wrong[key], otherwise)


def check_not_all_empty(where: str, files: Mapping[str, Entry], otherwise: str) -> None:
    """Raises IntegrityError for a snapshot of empty files alone, which is what some leave for symlinks."""
    if files and not any(entry.size for entry in files.values()):
        raise refusal(where, f"holds nothing but empty files, {min(files)} among them", otherwise)


def stand_in(bucket: Bucket, entry: Entry) -> str:
    """What an object is instead of a file's content, as the rest of a sentence; empty when it is none of that."""
    if not 0 < entry.size <= _TEXT_LIMIT:
        return ""
    data = bytes(bucket.get(entry.key, _TEXT_LIMIT))
    if link := _LINK.fullmatch(data):
        return f"holds the text of a symlink to blob {link['blob'].decode('ascii', 'replace'):.16}, not what that holds"
    return "holds a pointer of Git LFS, not the file" if data.startswith(_POINTER) else ""


def refusal(where: str, what: str, otherwise: str) -> IntegrityError:
    """The error for what lies there. otherwise: what to do if no better sync can be had."""
    return IntegrityError(
        f"{where} {what}; nothing was published: sync again with symlinks followed (as `aws s3 sync` does), "
        f"or {otherwise}"
    )
