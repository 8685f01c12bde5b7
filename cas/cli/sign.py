"""`cas sign`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cas.cli.display import output
from cas.cli.display.table import Column, Kind
from cas.cli.options import Settings, common, expect_option, noted, sign_with_option, use_signer
from cas.errors import InputError, SignatureError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cas.refs.reflog import Ref
    from cas.refs.sign import SignedEntry
    from cas.store.store import Store


@click.command(short_help="Sign what tags and pins name now.")
@click.argument("references", metavar="[REF]...", nargs=-1)
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="Move this tag to the version REF; repeatable.")
@click.option("--all", "everything", is_flag=True, help="Sign every tag and pin of the store.")
@click.option("--rotate", is_flag=True, help="Add this key's signature to what a trusted key signed, history included.")
@click.option("--by", help="Who moves the tags of --tag. Default: user@host.")
@expect_option
@click.option("-n", "--dry-run", is_flag=True, help="Show what would be signed; write nothing.")
@sign_with_option
@common
def sign(
    settings: Settings,
    references: tuple[str, ...],
    tags: tuple[str, ...],
    everything: bool,
    rotate: bool,
    by: str | None,
    expect: str | None,
    dry_run: bool,
    sign_with: str | None,
) -> None:
    """Sign what each tag or pin REF names now, whoever moved it there: look at it first, with -n.

    With --tag, REF is a version (MODEL@DIGEST): each TAG is moved to it, signed. So ends a publish that had no key.
    """
    from cas.api import signatures
    from cas.cli.display.progress import reporter_for
    from cas.store.store import open_store

    if everything == bool(references):
        raise InputError("say what to sign: each REF, or --all")
    if tags and (everything or rotate or len(references) != 1):
        raise InputError("--tag goes with one version: cas sign MODEL@DIGEST --tag TAG")
    if rotate and expect:
        raise InputError("--expect goes without --rotate, which signs only what a trusted key has signed")
    store = open_store(settings.store)
    use_signer(store, sign_with)
    if tags and dry_run:
        _print_plan(settings, store, references[0], tags)
        return
    with reporter_for(settings) as reporter:
        found = signatures.sign(
            references,
            store,
            tags=tags,
            everything=everything,
            rotate=rotate,
            by=by,
            expect=expect,
            dry_run=dry_run,
            on_event=reporter.listen,
        )
    _show(settings, store, found, dry_run=dry_run)
    if left := [entry for entry in found if entry.problem]:
        refs = ", ".join(f"{entry.ref} ({entry.problem})" for entry in left)
        raise SignatureError(
            f"what these name now does not count, so they were left alone: {refs}. Look at each with "
            "`cas history REF`; sign it with `cas sign REF` if it is right, and move it anew (`cas tag`, `cas pin`, "
            "`cas rollback`) if it is not, is unreadable or below the floor"
        )


def _print_plan(settings: Settings, store: Store, reference: str, tags: Sequence[str]) -> None:
    """Print which tags would be moved where."""
    from cas.refs.given_names import tag_to_set
    from cas.refs.reference import resolve

    version = resolve(store, reference, listen=noted(settings))
    refs = list(dict.fromkeys(tag_to_set(version.manifest.model, name) for name in tags))
    if settings.json:
        output.document([_planned(ref, version.digest) for ref in refs])
    else:
        print(f"would move {', '.join(map(str, refs))} to {version.exact}")


def _show(settings: Settings, store: Store, found: Sequence[SignedEntry], *, dry_run: bool) -> None:
    if settings.json:
        output.document([_document(entry) for entry in found])
        return
    if settings.quiet:
        output.ids(str(entry.ref) for entry in found)
        return
    done = "would sign" if dry_run else "signed"
    rows = [
        (
            str(entry.ref),
            f"{'*' if entry.in_force else ' '} {entry.move.number}",
            *_said(entry),
            entry.move.entry.reason,
            ", ".join(entry.signers) or "-",
            entry.problem or (done if entry.added else "as before"),
        )
        for entry in found
    ]
    output.print_store(settings, store)
    if rows:
        columns = (
            Column("REF"),
            Column("  ENTRY"),
            Column("VERSION", Kind.DIGEST),
            Column("BY", Kind.TEXT, rank=1),
            Column("CREATED", Kind.TIME, rank=3),
            Column("REASON", Kind.TEXT, rank=4),
            Column("SIGNED BY", Kind.TEXT, rank=2),
            Column("", Kind.TEXT),
        )
        output.table(settings, columns, rows)


def _said(entry: SignedEntry) -> tuple[str, str, str]:
    """Return which version an entry names, by whom and when; of one that no program of ours can read, nothing."""
    from cas.refs.sign import UNREADABLE

    if entry.problem == UNREADABLE:
        return "unreadable", "-", "-"
    said = entry.move.entry
    return said.digest if said.digest else "removed", said.by or "-", said.created


def _document(entry: SignedEntry) -> dict[str, object]:
    return {
        "ref": str(entry.ref),
        "entry": entry.move.number,
        "name": entry.move.name,
        "manifest": entry.move.entry.manifest,
        "by": entry.move.entry.by,
        "created": entry.move.entry.created,
        "reason": entry.move.entry.reason,
        "signed_by": list(entry.signers),
        "in_force": entry.in_force,
        "added": entry.added,
        "problem": entry.problem or None,
    }


def _planned(ref: Ref, digest: str) -> dict[str, object]:
    """The document of a move that a dry run plans: it has no entry yet."""
    from cas.formats.digest import named

    keys = ("entry", "name", "by", "created", "reason", "problem")
    planned: dict[str, object] = {"ref": str(ref), **dict.fromkeys(keys), "manifest": named(digest)}
    return {**planned, "signed_by": [], "in_force": False, "added": True}
