"""`cas init`."""

from __future__ import annotations

import sys

import click

from cas.cli.display import output
from cas.cli.options import Settings, common


@click.command(short_help="Make a store, or find that it is there.")
@common
def init(settings: Settings) -> None:
    """Make the store that --store, CAS_STORE or S3_BUCKET names; succeed, too, if it is there.

    The S3 bucket itself must exist.
    """
    from cas.store.store import open_store

    store = open_store(settings.store)
    made = store.create()
    if settings.json:
        output.document({"store": store.url, "made": made})
    elif not settings.quiet:
        print(f"{'made a new store at' if made else 'there is a store at'} {store.where}", file=sys.stderr)
