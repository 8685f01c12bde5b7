"""`cas copy`."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

import click

from cas.cli.display import output
from cas.cli.options import Settings, author_options, common, naming_options, sign_with_option, use_signer

if TYPE_CHECKING:
    from cas.ops.transfer.result import Copied


@click.command(short_help="Copy versions to another store.")
@click.argument("references", metavar="REF...", nargs=-1, required=True)
@click.argument("destination", metavar="DEST")
@naming_options("there")
@click.option("--verify", is_flag=True, help="Decode and hash every chunk on its way, not only where it is restored.")
@author_options(None)
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be copied; write nothing.")
@sign_with_option
@common
def copy(
    settings: Settings,
    references: tuple[str, ...],
    destination: str,
    tags: tuple[str, ...],
    pins: tuple[str, ...],
    no_refs: bool,
    verify: bool,
    by: str | None,
    reason: str | None,
    dry_run: bool,
    sign_with: str | None,
) -> None:
    """Copy each version REF of the store to the store DEST: what is missing there, as it is stored.

    A REF that is a tag or a pin is set there, too, last. Versions keep their ids.
    """
    from cas.cli.display.progress import reporter_for
    from cas.cli.process import keep_memory_together, leave_cores_alone
    from cas.ops.transfer import copier
    from cas.ops.transfer.receiver import Author
    from cas.ops.transfer.wanted import naming
    from cas.store.store import open_store

    keep_memory_together()
    leave_cores_alone()
    settings.destination = destination
    target = open_store(destination)
    use_signer(target, sign_with)
    with reporter_for(settings) as reporter:
        done = copier.copy(
            references,
            target,
            settings.store,
            rule=naming(tags, pins, keep=not no_refs),
            verify=verify,
            dry_run=dry_run,
            author=Author(by, reason),
            on_event=reporter.listen,
        )
    print_copied(settings, done)


def print_copied(settings: Settings, done: Copied) -> None:
    """Print what a copy, a mirror or an import did: the versions, one a line, and a summary on standard error."""
    if settings.json:
        output.document(dataclasses.asdict(done))
        return
    if not settings.quiet:
        if done.made_store:
            print(f"made a new store at {done.store}", file=sys.stderr)
        for original in done.originals:
            print(
                f"{original}, from which a variant was derived, is not in {done.store}: nothing but "
                "`cas derive --check` needs it",
                file=sys.stderr,
            )
        if done.extra:
            print(f"only in {done.store}: {', '.join(done.extra)}; --delete removes them", file=sys.stderr)
        print(_summary(done), file=sys.stderr)
    for version in done.versions:
        print(version)


def _summary(done: Copied) -> str:
    what = f"{output.count(len(done.versions), 'version')} ({output.size(done.total)})"
    if done.dry_run:
        removal = f" and remove {', '.join(done.removed)}" if done.removed else ""
        return (
            f"would copy {output.size(done.copied)} in {done.copied_chunks} of {done.chunks} chunks of {what} from "
            f"{done.source} to {done.store}{removal}; nothing was written"
        )
    sent = f"{output.size(done.wire)} sent in {done.copied_chunks} of {done.chunks} chunks"
    pieces = [f"copied {what} from {done.source} to {done.store}: {sent}"]
    if done.moved:
        pieces.append(f"moved {', '.join(done.moved)}")
    if done.removed:
        pieces.append(f"removed {', '.join(done.removed)}")
    if not done.versions and not done.removed:
        pieces = [f"{done.store} is equal to {done.source}: nothing to copy"]
    return f"{'; '.join(pieces)} ({done.seconds:.1f} s)"
