"""`cas tag`."""

from __future__ import annotations

import sys

import click

from cas.cli import output
from cas.cli.settings import Settings, common


@click.command(short_help="Give a version tags.")
@click.argument("reference", metavar="REF")
@click.argument("tags", metavar="TAG...", nargs=-1, required=True)
@click.option("--by", help="Who moves the tag. Default: user@host.")
@click.option("--reason", default="tag", help="Why, for the record.")
@common
def tag(settings: Settings, reference: str, tags: tuple[str, ...], by: str | None, reason: str) -> None:
    """Point each TAG of REF's model at the version REF."""
    from cas.digest import named
    from cas.errors import FormatError
    from cas.manifest import check_name
    from cas.refs import Reference, log_of, resolve
    from cas.store import open_store

    store = open_store(settings.store)
    resolved = resolve(store, reference)
    logs = {name: log_of(store, Reference(resolved.reference.model, tag=check_name(name, "tag"))) for name in tags}
    moved = []
    for name, log in logs.items():
        try:
            before = log.current()
        except FormatError as error:
            print(f"warning: {error}", file=sys.stderr)
            before = None
        if before is None or before.manifest != named(resolved.digest):
            log.append(resolved.digest, reason, by)
            moved.append(name)
    if settings.json:
        output.document({"reference": resolved.exact, "moved": moved})
        return
    for name in tags:
        note = "" if name in moved else " (as before)"
        print(f"{resolved.reference.model}:{name} -> {resolved.exact}{note}")
