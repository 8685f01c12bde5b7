"""`cas tag` and `cas untag`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cas.cli.display import output
from cas.cli.options import Settings, author_options, common, expect_option, sign_with_option, use_signer

if TYPE_CHECKING:
    from cas.api.names import Moved
    from cas.store.store import Store


@click.command(short_help="Give a version tags.")
@click.argument("reference", metavar="REF")
@click.argument("tags", metavar="TAG...", nargs=-1, required=True)
@author_options("tag")
@expect_option
@sign_with_option
@common
def tag(
    settings: Settings,
    reference: str,
    tags: tuple[str, ...],
    by: str | None,
    reason: str,
    expect: str | None,
    sign_with: str | None,
) -> None:
    """Point each TAG of REF's model at the version REF; a TAG is a name, with its model before it or without."""
    from cas.api import names
    from cas.cli.display.progress import reporter_for
    from cas.store.store import open_store

    store = open_store(settings.store)
    use_signer(store, sign_with)
    with reporter_for(settings) as reporter:
        done = names.tag(reference, tags, store, by=by, reason=reason, expect=expect, on_event=reporter.listen)
    if settings.json:
        moved = [ref.rpartition(":")[2] for ref in done.moved]
        output.document({"reference": done.reference, "moved": moved, "store": store.url})
        return
    output.print_store(settings, store)
    print_moved(settings, done)


@click.command(short_help="Remove tags.")
@click.argument("tags", metavar="MODEL:TAG...", nargs=-1, required=True)
@author_options("untag")
@sign_with_option
@common
def untag(settings: Settings, tags: tuple[str, ...], by: str | None, reason: str, sign_with: str | None) -> None:
    """Remove each MODEL:TAG; versions stay until `cas gc` finds that nothing needs them."""
    from cas.api import names
    from cas.cli.display.progress import reporter_for
    from cas.store.store import open_store

    store = open_store(settings.store)
    use_signer(store, sign_with)
    with reporter_for(settings) as reporter:
        done = names.untag(tags, store, by=by, reason=reason, on_event=reporter.listen)
    print_removed(settings, store, done)


def print_moved(settings: Settings, done: Moved) -> None:
    """Print what tags or pins name now."""
    exact = output.short(done.reference, whole=settings.no_trunc)
    for ref in done.refs:
        print(f"{ref} -> {exact}{'' if ref in done.moved else ' (as before)'}")


def print_removed(settings: Settings, store: Store, done: Moved) -> None:
    """Print which tags or pins were removed, and how each comes back."""
    if settings.json:
        output.document({"removed": done.moved, "store": store.url})
        return
    output.print_store(settings, store)
    for ref in done.moved:
        print(f"{ref} removed: `cas rollback {ref}` puts it back")
