"""`cas rollback`."""

from __future__ import annotations

import click

from cas.cli.display import output
from cas.cli.options import Settings, author_options, common, sign_with_option, use_signer


@click.command(short_help="Move a tag or pin back to an earlier version.")
@click.argument("reference", metavar="REF")
@click.option("--to", metavar="REF2", help="The version, one that REF named before. Default: one step back.")
@author_options(None)
@sign_with_option
@common
def rollback(
    settings: Settings, reference: str, to: str | None, by: str | None, reason: str | None, sign_with: str | None
) -> None:
    """Move the tag or pin REF one step back, or to REF2; a removed one is put back.

    Called again it goes one step further back: what was rolled back is no longer on the way.
    """
    from cas.cli.display.progress import reporter_for
    from cas.formats.digest import named
    from cas.refs import history
    from cas.store.store import open_store

    store = open_store(settings.store)
    use_signer(store, sign_with)
    with reporter_for(settings) as reporter:
        done = history.rollback(store, reference, to, reason=reason, by=by, listen=reporter.listen)
    exact = f"{done.ref.model}@{named(done.after)}"
    if settings.json:
        before = named(done.before) if done.before else None
        output.document(
            {"ref": str(done.ref), "before": before, "reference": exact, "moved": done.moved, "store": store.url}
        )
        return
    output.print_store(settings, store)
    was = f" (was {done.left})" if done.moved else " (as before)"
    print(f"{done.ref} -> {output.short(exact, whole=settings.no_trunc)}{was}")
