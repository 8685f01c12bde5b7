"""`cas import`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import click

from cas.cli.copy import print_copied
from cas.cli.options import Settings, author_options, common, naming_options, sign_with_option, use_signer
from cas.errors import InputError

if TYPE_CHECKING:
    from cas.ops.transfer.stream import Readable

_STREAM = "-"


@click.command("import", short_help="Bring the versions in an archive into the store.")
@click.argument("file", metavar="FILE")
@naming_options("in the store")
@author_options(None)
@click.option("-n", "--dry-run", is_flag=True, help="Read and check the archive; write nothing.")
@sign_with_option
@common
def import_archive(
    settings: Settings,
    file: str,
    tags: tuple[str, ...],
    pins: tuple[str, ...],
    no_refs: bool,
    by: str | None,
    reason: str | None,
    dry_run: bool,
    sign_with: str | None,
) -> None:
    """Bring what `cas export` wrote to FILE (- for standard input) into the store, each chunk verified.

    The tags and pins in the archive are set last.
    """
    from cas.cli.display.progress import reporter_for
    from cas.cli.process import keep_memory_together, leave_cores_alone
    from cas.ops.transfer import importer
    from cas.ops.transfer.receiver import Author
    from cas.ops.transfer.wanted import naming
    from cas.store.store import open_store

    rule = naming(tags, pins, keep=not no_refs)
    keep_memory_together()
    leave_cores_alone()
    store = open_store(settings.store)
    use_signer(store, sign_with)
    with _opened(file) as archive, reporter_for(settings) as reporter:
        done = importer.import_archive(
            archive,
            "standard input" if file == _STREAM else file,
            store,
            rule=rule,
            dry_run=dry_run,
            author=Author(by, reason),
            on_event=reporter.listen,
        )
    print_copied(settings, done)


@contextlib.contextmanager
def _opened(file: str) -> Iterator[Readable]:
    """The archive of that name, or standard input."""
    from cas.ops.transfer.stream import opened_archive

    if file == _STREAM:
        if sys.stdin is None or sys.stdin.isatty():
            raise InputError("- reads the archive from standard input, which is a terminal: pipe it in, or name a file")
        yield cast("Readable", sys.stdin.buffer)
        return
    with opened_archive(file) as opened:
        yield opened
