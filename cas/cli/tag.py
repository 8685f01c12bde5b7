"""`cas tag` and `cas untag`."""

from __future__ import annotations

import click

from cas.cli.display import output
from cas.cli.move_refs import point_refs, remove_refs
from cas.cli.options import Settings, author_options, common, expect_option, noted, sign_with_option, use_signer


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
    from cas.refs.given_names import tag_to_set
    from cas.refs.reference import resolve
    from cas.store.store import open_store

    store = open_store(settings.store)
    use_signer(store, sign_with)
    resolved = resolve(store, reference, listen=noted(settings))
    refs = list(dict.fromkeys(tag_to_set(resolved.manifest.model, name) for name in tags))
    moved = point_refs(settings, store, resolved, refs, by, reason, expect)
    if settings.json:
        output.document({"reference": resolved.exact, "moved": [ref.second for ref in moved], "store": store.url})
        return
    for ref in refs:
        print(
            f"{ref} -> {output.short(resolved.exact, whole=settings.no_trunc)}{'' if ref in moved else ' (as before)'}"
        )
    output.print_store(settings, store)


@click.command(short_help="Remove tags.")
@click.argument("tags", metavar="MODEL:TAG...", nargs=-1, required=True)
@author_options("untag")
@sign_with_option
@common
def untag(settings: Settings, tags: tuple[str, ...], by: str | None, reason: str, sign_with: str | None) -> None:
    """Remove each MODEL:TAG; versions stay until `cas gc` finds that nothing needs them."""
    from cas.refs.given_names import tag_to_remove
    from cas.store.store import open_store

    store = open_store(settings.store)
    use_signer(store, sign_with)
    refs = [tag_to_remove(store, text) for text in dict.fromkeys(tags)]
    remove_refs(settings, store, refs, by, reason)
