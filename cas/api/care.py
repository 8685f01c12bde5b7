"""The care of a store and of this machine's cache, for Python: what is looked at, checked and freed."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cas.store.store import Store, open_store

if TYPE_CHECKING:
    from cas.hub.builtin_sources import BuiltinSource
    from cas.ops.doctor.examiner import Diagnosis
    from cas.ops.doctor.findings import Finding
    from cas.ops.doctor.roles import Role
    from cas.ops.gc.explain import Explained
    from cas.ops.inspect.settings import Shown
    from cas.refs.lock_file import Locked


def init(store: Store | str | None = None) -> bool:
    """Make a store unless it is there, and return whether it was made. An S3 bucket itself must exist.

    Args:
        store: an open store, a URL, or None for the default.

    Raises:
        FormatError: a newer version made the store that is there.
        StoreError: it cannot be reached or refuses.
    """
    return open_store(store).create()


def explain(
    digest: str,
    store: Store | str | None = None,
    *,
    grace: datetime.timedelta = datetime.timedelta(hours=24),
    keep: int = 20,
) -> Explained:
    """Say what keeps a chunk or a version in the store, or from when on `gc` may delete it.

    Args:
        digest: 8 or more of its hex digits, or a version's exact reference.
        store: an open store, a URL, or None for the default.
        grace: as for `gc`.
        keep: as for `gc`.

    Raises:
        InputError: it is no digest, or several chunks and versions begin with it.
        NotFoundError: none does.
    """
    from cas.ops.gc import explain as explaining

    return explaining.explain(open_store(store), digest, grace=grace, keep=keep)


def doctor(
    store: Store | str | None = None,
    *,
    role: Role | None = None,
    cache_dir: str | None = None,
    on_finding: Callable[[Finding], None] = lambda finding: None,
) -> Diagnosis:
    """Check a store, the key to it and this machine. No problem of theirs raises an error: each is a finding.

    Args:
        store: an open store, a URL, or None for the default.
        role: `reader`, `publisher` or `collector`: the key should have what that needs, and no more.
        cache_dir: the hub cache; by default HF_HUB_CACHE.
        on_finding: is told each finding at once.
    """
    from cas.ops.doctor.examiner import examine

    return examine(store, role, cache_dir=cache_dir, on_finding=on_finding)


def info(store: str | None = None) -> list[Shown]:
    """Return each setting that counts, where it comes from and what it decides; secrets are hidden.

    Args:
        store: the URL of a store; None for the default.
    """
    from cas.ops.inspect import settings

    return settings.settings(store)


def sources() -> list[BuiltinSource]:
    """Return the built-in sources; `Source.from_file(source.path)` is what `publish` takes."""
    from cas.hub.builtin_sources import builtin_sources

    return builtin_sources()


def lock(reference: str, path: str | Path, store: Store | str | None = None) -> Locked:
    """Write a version's manifest to a file, and its digest beside it; `restore(read_lock(path))` restores it.

    A store that signs puts a signature beside it, too.

    Args:
        reference: names the version.
        path: the lock file.
        store: an open store, a URL, or None for the default.

    Raises:
        NotFoundError: the store has no such version.
        CacheError: a file cannot be written.
    """
    from cas.refs.lock_file import write_lock

    return write_lock(reference, store, path)
