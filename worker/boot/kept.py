"""The last version that a cache directory was given, kept there: what to run when no store can say."""

from __future__ import annotations

from pathlib import Path

from cas.errors import CasError
from cas.refs.lock_file import read_lock, write_lock
from cas.refs.reference import Resolved
from cas.store.store import Store


def keep(directory: Path, resolved: Resolved, store: Store) -> None:
    """Writes down that `directory` was given this version; raises CasError. Takes two requests to the store."""
    kept = recall(directory, resolved.manifest.model)
    if kept is None or kept.digest != resolved.digest:
        write_lock(resolved.exact, store, _path(directory, resolved.manifest.model))


def recall(directory: Path, model: str) -> Resolved | None:
    """The last version of a model that `directory` was given; None when nothing readable says so."""
    try:
        found = read_lock(_path(directory, model))
    except CasError:
        return None
    return found if found.manifest.model == model else None


def _path(directory: Path, model: str) -> Path:
    return directory / ".cas-worker" / f"{model}.json"
