"""Versions from store to store, and to and from files, for Python."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cas import events
from cas.store.store import Store

if TYPE_CHECKING:
    from cas.ops.transfer.exporter import Writable
    from cas.ops.transfer.result import Copied, Exported
    from cas.ops.transfer.stream import Readable


def copy(
    references: str | Sequence[str],
    destination: Store | str,
    store: Store | str | None = None,
    *,
    tags: Sequence[str] = (),
    pins: Sequence[str] = (),
    refs: bool = True,
    verify: bool = False,
    by: str | None = None,
    reason: str | None = None,
    dry_run: bool = False,
    on_event: events.Listener = events.log,
) -> Copied:
    """Copy versions to another store: what is missing there, as it is stored. Versions keep their ids.

    Args:
        references: one version or several; one that a tag or a pin names is named so there, too.
        destination: the other store, open or its URL.
        store: the store to copy from: open, a URL, or None for the default.
        tags: name the version so there instead.
        pins: deployments that pin it there instead.
        refs: False to set no tag and no pin there.
        verify: decode and hash every chunk on its way.
        by: who moves the tags and pins there, by default user@host.
        reason: why, for the record.
        dry_run: write nothing.
        on_event: hears what happens.

    Raises:
        NotFoundError: the store has no such version.
        IntegrityError: a chunk or a manifest is damaged.
        StoreError: one of the stores cannot be reached or refuses.
        SignatureError: keys are trusted, and none of them signs there.
    """
    from cas.ops.transfer import copier
    from cas.ops.transfer.receiver import Author
    from cas.ops.transfer.wanted import naming

    return copier.copy(
        _several(references),
        destination,
        store,
        rule=naming(tags, pins, keep=refs),
        verify=verify,
        dry_run=dry_run,
        author=Author(by, reason),
        on_event=on_event,
    )


def mirror(
    prefixes: str | Sequence[str],
    destination: Store | str,
    store: Store | str | None = None,
    *,
    delete: bool = False,
    verify: bool = False,
    by: str | None = None,
    reason: str | None = None,
    dry_run: bool = False,
    on_event: events.Listener = events.log,
) -> Copied:
    """Keep the tags and pins of models in another store equal to those here, with the versions that they name.

    Args:
        prefixes: beginnings of the models' names; none for all models.
        destination: the other store, open or its URL.
        store: the store to copy from: open, a URL, or None for the default.
        delete: remove tags and pins of these models that only the other store has.
        verify: decode and hash every chunk on its way.
        by: who moves the tags and pins there, by default user@host.
        reason: why, for the record.
        dry_run: write nothing.
        on_event: hears what happens.

    Raises:
        CasError: as for `copy`.
    """
    from cas.ops.transfer import mirror as mirroring
    from cas.ops.transfer.receiver import Author

    return mirroring.mirror(
        _several(prefixes),
        destination,
        store,
        delete=delete,
        verify=verify,
        dry_run=dry_run,
        author=Author(by, reason),
        on_event=on_event,
    )


def export(
    references: str | Sequence[str],
    file: str | Path | Writable,
    store: Store | str | None = None,
    *,
    refs: bool = True,
    on_event: events.Listener = events.log,
) -> Exported:
    """Write versions to one file, an archive; `import_archive` brings them into a store, `open_store(file)` reads it.

    Args:
        references: one version or several.
        file: the archive's path, or a binary stream.
        store: an open store, a URL, or None for the default.
        refs: False to leave out the tags and pins that named the versions.
        on_event: hears what happens.

    Raises:
        NotFoundError: the store has no such version.
        IntegrityError: a chunk or a manifest is damaged.
        CacheError: the file cannot be written.
    """
    from cas.ops.transfer import exporter

    return exporter.export(_several(references), file, store, named_too=refs, on_event=on_event)


def import_archive(
    file: str | Path | Readable,
    store: Store | str | None = None,
    *,
    tags: Sequence[str] = (),
    pins: Sequence[str] = (),
    refs: bool = True,
    by: str | None = None,
    reason: str | None = None,
    dry_run: bool = False,
    on_event: events.Listener = events.log,
) -> Copied:
    """Bring the versions in an archive into a store, each chunk verified; the archive's tags and pins are set last.

    Args:
        file: the archive's path, or a binary stream that has `readinto`.
        store: an open store, a URL, or None for the default.
        tags: name the version so instead.
        pins: deployments that pin it instead.
        refs: False to set no tag and no pin.
        by: who moves the tags and pins, by default user@host.
        reason: why, for the record.
        dry_run: read and check the archive, and write nothing.
        on_event: hears what happens.

    Raises:
        InputError: there is no such file.
        FormatError: it is no archive of `export`.
        IntegrityError: it is damaged.
        SignatureError: keys are trusted, and none of them signs here.
    """
    from cas.ops.transfer import importer
    from cas.ops.transfer.receiver import Author
    from cas.ops.transfer.stream import opened_archive
    from cas.ops.transfer.wanted import naming

    with opened_archive(file) if isinstance(file, str | Path) else contextlib.nullcontext(file) as archive:
        return importer.import_archive(
            archive,
            str(file) if isinstance(file, str | Path) else "the given stream",
            store,
            rule=naming(tags, pins, keep=refs),
            dry_run=dry_run,
            author=Author(by, reason),
            on_event=on_event,
        )


def _several(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)
