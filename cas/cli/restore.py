"""`cas restore`."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from typing import TYPE_CHECKING

import click

from cas.cli import output
from cas.cli.options import (
    Settings,
    cache_dir_option,
    chosen_version,
    common,
    lock_option,
    receipt_option,
    seed_option,
    verify_option,
)

if TYPE_CHECKING:
    from cas.ops.restore.restorer import Restored
    from cas.refs.selection import Choice


@click.command(short_help="Put a version into the Hugging Face cache.")
@click.argument("reference", metavar="[REF]", required=False)
@lock_option
@cache_dir_option
@seed_option
@verify_option
@receipt_option
@click.option("--refuse-pickle", is_flag=True, help="Refuse a version that contains pickle files (.bin, .pt).")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be fetched; change nothing.")
@common
def restore(
    settings: Settings,
    reference: str | None,
    lock: str | None,
    cache_dir: str | None,
    seeds: tuple[str, ...],
    verify: bool,
    receipt: bool,
    refuse_pickle: bool,
    dry_run: bool,
) -> None:
    """Put the version REF into the Hugging Face cache and print where its snapshots are.

    Without REF, the version that CAS_MODEL, CAS_LOCK or the pin of CAS_DEPLOYMENT names.
    """
    chosen = chosen_version(settings, reference, lock)
    done = restore_chosen(
        settings,
        chosen,
        cache_dir,
        seeds,
        verify=verify,
        receipt=receipt,
        refuse_pickle=refuse_pickle,
        dry_run=dry_run,
    )
    if settings.json:
        output.document(dataclasses.asdict(done))
        return
    for snapshot in done.snapshots.values():
        print(snapshot)


def restore_chosen(
    settings: Settings,
    chosen: Choice,
    cache_dir: str | None,
    seeds: tuple[str, ...],
    *,
    verify: bool,
    receipt: bool,
    refuse_pickle: bool = False,
    dry_run: bool = False,
) -> Restored:
    """Restore a version as `cas restore` and `cas run` do: with progress, a receipt if wanted, and a summary line."""
    from cas.cli.process import keep_memory_together, leave_cores_alone
    from cas.cli.progress import Reporter
    from cas.config import receipt_wanted
    from cas.ops.restore import restorer
    from cas.store.store import open_store

    keep_memory_together()
    leave_cores_alone()
    store = open_store(settings.store)
    with Reporter(quiet=settings.quiet, verbose=settings.verbose) as reporter, contextlib.ExitStack() as stack:
        listen = reporter.listen
        receipt_writer = None
        if (receipt or receipt_wanted()) and not dry_run:
            from cas.ops.restore.receipts import ReceiptWriter

            receipt_writer = stack.enter_context(ReceiptWriter(store, listen, reason=chosen.reason))
            listen = receipt_writer.listen
        done = restorer.restore(
            chosen.version(),
            store,
            cache_dir=cache_dir,
            seeds=seeds,
            verify=verify,
            refuse_pickle=refuse_pickle,
            dry_run=dry_run,
            on_event=listen,
        )
        if receipt_writer:
            receipt_writer.finished(done)
    if not settings.quiet:
        print(_summary(done), file=sys.stderr)
    return done


def _summary(done: Restored) -> str:
    total, fetched = output.size(done.total), output.size(done.fetched)
    if done.dry_run:
        pieces = [f"would fetch {fetched} of {total} into {done.hub}"]
        pieces += [f"take {output.size(size)} from {seed}" for seed, size in done.reused_from.items()]
        return f"{', '.join(pieces)}; nothing was changed"
    if not done.changed:
        return f"{done.reference} is in {done.hub}: {total}, verified before ({done.seconds:.2f} s)"
    reused = f", {output.size(done.reused)} reused" if done.reused else ""
    return (
        f"restored {done.reference} to {done.hub}: {total}, of which {fetched} fetched "
        f"as {output.size(done.wire)}{reused} ({done.seconds:.1f} s)"
    )
