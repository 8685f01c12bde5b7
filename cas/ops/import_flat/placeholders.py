"""Placeholders: what some syncs leave instead of a file, which is nothing at all, a folder mark, or a symlink's text.

`aws s3 sync`, s5cmd and boto3 follow the symlinks of a cache. rclone and s3cmd leave them out. s3fs and
`rclone --links` keep them as objects that hold their text, gcsfuse and GeeseFS as empty objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cas.bucket import Bucket, Entry
from cas.errors import IntegrityError
from cas.formats import loadable
from cas.parallel import for_each

_REQUESTS = 8


def without_folder_marks(bucket: Bucket, files: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return `files` (objects by path) without the marks of empty folders.

    The key of a mark ends with a slash, which listings drop. So each empty object is asked for by its listed key: a
    mark does not exist under that key.
    """
    return {path: entry for path, entry in files.items() if entry.size or bucket.exists(entry.key)}


def refuse_placeholders(bucket: Bucket, files: Iterable[Entry], unnamed: Iterable[Entry], otherwise: str) -> None:
    """Raise IntegrityError if an object is a placeholder for a file.

    Args:
        bucket: the source of the import.
        files: objects that must not be empty if their format does not allow it.
        unnamed: objects whose content nothing names, so that no later check finds them wrong; the small ones are read.
        otherwise: the next step for a user who cannot make a better sync.
    """
    wrong = {entry.key: empty for entry in files if not entry.size and (empty := loadable.describe_empty(entry.key))}

    def check(entry: Entry) -> None:
        if description := describe_placeholder(bucket, entry):
            wrong[entry.key] = description

    for_each(check, unnamed, threads=_REQUESTS)
    if wrong:
        key = min(wrong)
        raise placeholder_error(f"{bucket.url}/{key}", wrong[key], otherwise)


def refuse_empty_snapshot(where: str, files: Mapping[str, Entry], otherwise: str) -> None:
    """Raise IntegrityError if a snapshot has files, and all of them are empty: some syncs leave that for symlinks."""
    if files and not any(entry.size for entry in files.values()):
        raise placeholder_error(where, f"holds nothing but empty files, {min(files)} among them", otherwise)


def describe_placeholder(bucket: Bucket, entry: Entry) -> str:
    """Read a small object, and return what placeholder it is, as the rest of a sentence; empty if it is none."""
    if not 0 < entry.size <= loadable.TEXT_LIMIT:
        return ""
    return loadable.describe_placeholder(bytes(bucket.get(entry.key, loadable.TEXT_LIMIT)))


def placeholder_error(where: str, what: str, otherwise: str) -> IntegrityError:
    """Return the error for a placeholder.

    Args:
        where: the object's URL, or a folder's.
        what: what the object is, as the rest of a sentence.
        otherwise: the next step for a user who cannot make a better sync.
    """
    return IntegrityError(
        f"{where} {what}; nothing was published: sync again with symlinks followed (as `aws s3 sync` does), "
        f"or {otherwise}"
    )
