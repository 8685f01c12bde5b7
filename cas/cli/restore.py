"""`cas restore`."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from cas.cli.display import output
from cas.cli.options import (
    Settings,
    cache_dir_option,
    chosen_version,
    common,
    exclude_option,
    include_option,
    lock_option,
    receipt_option,
    seed_option,
    verify_option,
)
from cas.errors import InputError

if TYPE_CHECKING:
    from cas.events import Listener
    from cas.ops.restore.folder import Folder
    from cas.ops.restore.receipts import ReceiptWriter
    from cas.ops.restore.restorer import Restored
    from cas.refs.selection import Choice


@click.command(short_help="Put versions into the Hugging Face cache, or a folder.")
@click.argument("references", metavar="[REF]...", nargs=-1)
@lock_option
@include_option
@exclude_option
@click.option("--to", "--local-dir", "to", metavar="DIR", help="Put the files into DIR, for programs without a cache.")
@click.option(
    "--layout",
    metavar="LAYOUT",
    help="Where a file goes below DIR: {path}, as in its repo (default), {repo}/{path}, or {name}.",
)
@click.option("--link", metavar="KIND", help="hardlink or reflink: make the files of DIR from those in the cache.")
@click.option("--delete", is_flag=True, help="Remove what earlier restores put into DIR and this one does not name.")
@cache_dir_option
@seed_option
@verify_option
@receipt_option
@click.option("--refuse-pickle", is_flag=True, help="Refuse a version that contains pickle files (.bin, .pt).")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be fetched; change nothing.")
@common
def restore(
    settings: Settings,
    references: tuple[str, ...],
    lock: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    to: str | None,
    layout: str | None,
    link: str | None,
    delete: bool,
    cache_dir: str | None,
    seeds: tuple[str, ...],
    verify: bool,
    receipt: bool,
    refuse_pickle: bool,
    dry_run: bool,
) -> None:
    """Put the versions REF into the Hugging Face cache and print where their snapshots are, or into a folder.

    Without REF, the version that CAS_MODEL, CAS_LOCK or the pin of CAS_DEPLOYMENT names. Chunks that several versions
    share are fetched once.
    """
    from cas.config import receipt_wanted

    begun = time.monotonic()
    chosen = chosen_version(
        settings, references[0] if references else None, lock, cache_dir, keep=not dry_run and to is None
    )
    folder = _folder(to, layout, link, delete=delete)
    with receipt_writer(settings, chosen, begun, wanted=(receipt or receipt_wanted()) and not dry_run) as writer:
        done = restore_chosen(
            settings,
            chosen,
            cache_dir,
            seeds,
            verify=verify,
            receipt=writer,
            refuse_pickle=refuse_pickle,
            dry_run=dry_run,
            others=references[1:],
            to=folder,
            include=include,
            exclude=exclude,
        )
    if settings.json:
        output.document(dataclasses.asdict(done))
    elif done.folder is not None:
        print(done.folder)
    else:
        for snapshot in dict.fromkeys(path for version in done.versions for path in version.snapshots.values()):
            print(snapshot)


def _folder(to: str | None, layout: str | None, link: str | None, *, delete: bool) -> Folder | None:
    """Return the folder that the options name; None without --to."""
    if to is None:
        if layout or link or delete:
            raise InputError("--layout, --link and --delete go with --to DIR: say which folder gets the files")
        return None
    from cas.formats.folder_paths import LAYOUTS
    from cas.ops.restore.folder import Folder

    return Folder(to, layout or LAYOUTS[0], link, delete)


def restore_chosen(
    settings: Settings,
    chosen: Choice,
    cache_dir: str | None,
    seeds: tuple[str, ...],
    *,
    verify: bool,
    receipt: ReceiptWriter | None,
    refuse_pickle: bool = False,
    dry_run: bool = False,
    others: Sequence[str] = (),
    to: Folder | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Restored:
    """Restore versions as `cas restore` and `cas run` do: with progress, and a summary line.

    Args:
        settings: the global options.
        chosen: the first version.
        cache_dir: the hub cache; None for the user's.
        seeds: as for `cas.restore`; so are `verify`, `refuse_pickle`, `dry_run`, `to`, `include` and `exclude`.
        receipt: writes a receipt of it later; None for none.
        others: references to further versions.
    """
    from cas.cli.display.progress import reporter_for
    from cas.cli.process import keep_memory_together, leave_cores_alone
    from cas.host import traces_wanted
    from cas.ops.restore import restorer
    from cas.store.store import open_store

    keep_memory_together()
    leave_cores_alone()
    store = receipt.store if receipt else open_store(settings.store)
    with reporter_for(settings) as reporter, contextlib.ExitStack() as stack:
        listen: Listener = reporter.listen
        if traces_wanted():
            from cas.cli.tracing import traced

            listen = stack.enter_context(traced("cas restore", listen))
        if receipt:
            receipt.listener = listen
            listen = receipt.listen
        done = restorer.restore(
            [chosen.version(), *others] if others else chosen.version(),
            store,
            cache_dir=cache_dir,
            to=to,
            include=include,
            exclude=exclude,
            seeds=seeds,
            verify=verify,
            refuse_pickle=refuse_pickle,
            dry_run=dry_run,
            on_event=listen,
        )
        if receipt:
            receipt.finished(done)
    if not settings.quiet:
        parsed = chosen.parsed
        # A word that means something else than it says, such as digits alone, is told as what it meant.
        says_it = parsed is not None and not others and done.reference.startswith(f"{parsed.model}@")
        name = str(parsed) if says_it else done.reference
        print(_planned(done) if dry_run else _summary(name, done, reporter.phases.wire_rate()), file=sys.stderr)
    return done


@contextlib.contextmanager
def receipt_writer(settings: Settings, chosen: Choice, begun: float, *, wanted: bool) -> Iterator[ReceiptWriter | None]:
    """Write a receipt of what this process does until a `with` block ends.

    Args:
        settings: the global options.
        chosen: the version that is restored.
        begun: when the command began, by the machine's monotonic clock.
        wanted: whether a receipt is kept at all.
    """
    if not wanted:
        yield None
        return
    from cas import events
    from cas.local.process_start import spans_before
    from cas.ops.restore.receipts import ReceiptWriter
    from cas.refs.reference import signed_entry
    from cas.store.store import open_store

    store = open_store(settings.store)
    signed = signed_entry(chosen.pin, chosen.move, store)
    before = (*spans_before(begun), events.Span("choose", begun, time.monotonic() - begun))
    with ReceiptWriter(store, reason=chosen.reason, signed=signed, before=before) as writer:
        writer.listen(events.Phase("imports"))
        yield writer


def _planned(done: Restored) -> str:
    where = done.hub if done.folder is None else done.folder
    fetched = f"would fetch {output.size(done.fetched)} of {output.size(done.total)}"
    pieces = [f"{fetched} into {where if not done.linked else done.hub}"]
    pieces += [f"take {output.size(size)} from {seed}" for seed, size in done.reused_from.items()]
    if done.linked:
        pieces.append(f"link {output.size(done.linked)} from there into {where}")
    if done.removed:
        pieces.append(f"remove {output.count(len(done.removed), 'file')}: {', '.join(done.removed[:3])}")
    return f"{', '.join(pieces)}; nothing was changed"


def _summary(name: str, done: Restored, rate: float) -> str:
    """What was restored, and where its bytes came from. rate: of the download, in bytes a second."""
    name, total = output.short(name), output.size(done.total)
    if not done.changed:
        return f"{name}  {total}, all of it was here, verified before ({done.seconds:.2f} s)"
    here = done.total - done.fetched - done.reused - done.linked
    pieces = [f"{output.size(done.wire)} downloaded", f"{output.size(rate)}/s" if rate else ""] if done.fetched else []
    pieces += [
        f"{output.size(size)} {what}"
        for size, what in ((done.reused, "copied on this machine"), (done.linked, "linked"), (here, "in place"))
        if size > 0
    ]
    if done.removed:
        pieces.append(f"{output.count(len(done.removed), 'file')} removed")
    return f"{name}  {total} ({', '.join(filter(None, pieces))}) in {done.seconds:.1f} s"
