"""Refuses files that no loader can load, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable

from cas.errors import FormatError, IntegrityError
from cas.formats import loadable
from cas.local.fs import open_binary
from cas.local.hf_cache import SnapshotFile
from cas.ops.publish.file_reader import reading_errors
from cas.parallel import for_each

_THREADS = 4


def refuse_unloadable(files: Iterable[SnapshotFile]) -> None:
    """Raise IntegrityError if a file is a placeholder, empty, cut short, or a web page in place of weights.

    A file that a hub names by its content may be small or empty as its author wished. Of these, only weights are
    checked, and only for what a hub or a proxy may send in their place.

    Args:
        files: the files to publish; the beginnings of all of them are read, and the ends of some.

    Raises:
        CacheError: a file changed since it was listed, or its disk fails.
        InputError: this user may not read a file.
    """
    wrong: dict[str, str] = {}

    def check(file: SnapshotFile) -> None:
        if description := _describe(file):
            where = str(file.real)
            wrong[where if where.endswith(file.path) else f"{file.path} ({where})"] = description

    for_each(check, files, threads=_THREADS)
    if wrong:
        path = min(wrong)
        others = f" ({len(wrong)} such files in all)" if len(wrong) > 1 else ""
        raise IntegrityError(
            f"{path} {wrong[path]}{others}; nothing was published: bring the file itself, as `hf download` or "
            "`git lfs pull` does, or leave it out with --include"
        )


def _describe(file: SnapshotFile) -> str:
    """What is wrong with a file, as the rest of a sentence; empty if nothing is."""
    is_named = file.blob is not None
    if is_named and not loadable.is_weights(file.path):
        return ""
    if not file.size:
        return "" if is_named else loadable.describe_empty(file.path)
    with reading_errors(file), open_binary(file.real) as opened:
        if file.size <= loadable.TEXT_LIMIT and (found := loadable.describe_placeholder(opened.read())):
            return found
        try:
            loadable.check_no_page(opened, file.path)
            if not is_named:
                loadable.check_complete(opened, file.size, file.path)
        except FormatError as error:
            return f"cannot be loaded: {error}"
    return ""
