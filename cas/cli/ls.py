"""`cas ls`."""

from __future__ import annotations

import sys

import click

from cas.cli.display import output
from cas.cli.display.table import Column, Kind
from cas.cli.options import Settings, common, noted


@click.command(short_help="List models, or the versions of one.")
@click.argument("model", metavar="[MODEL|PATTERN|REF]", required=False)
@common
def ls(settings: Settings, model: str | None) -> None:
    """List all models by tag and pin, or every version of MODEL, newest first.

    A PATTERN asks for several models (f5*), tags (f5*:v*) or pins (pin:eu-*).

    Where tags or pins are signed, the last column says by which keys; with (?) that is not verified, as no key is
    trusted here.
    """
    from cas.ops.inspect import versions
    from cas.ops.inspect.signatures import shown
    from cas.store.store import open_store

    store = open_store(settings.store)
    listed = versions.versions(store, model, listen=noted(settings))
    signatures = [signature for version in listed for signature in version.signatures]
    if settings.json:
        output.document([version.document() for version in listed])
        return
    if not listed:
        if not settings.quiet:
            print(f"{store.url} is empty: publish a model with `cas publish`", file=sys.stderr)
        return
    if settings.quiet:
        output.ids(
            output.short(f"{version.model}@{version.digest}", whole=settings.no_trunc)
            for version in listed
            if version.digest
        )
        return
    columns = [
        Column("MODEL"),
        Column("TAGS", Kind.NAMES),
        Column("VERSION", Kind.DIGEST),
        Column("CREATED", Kind.TIME, rank=2),
        Column("SIZE", rank=1),
        Column("FILES", rank=3),
    ]
    rows = [
        [
            version.model,
            version.names.shown or "-",
            version.digest,
            version.created,
            output.size(version.size),
            str(version.files),
        ]
        for version in listed
    ]
    if any(version.variant for version in listed):
        columns.append(Column("VARIANT", Kind.DIGEST, rank=4))
        for row, version in zip(rows, listed, strict=True):
            row.append(version.variant.shown if version.variant else "")
    if store.trust is not None or any(signature.key_ids for signature in signatures):
        columns.append(Column("SIGNED BY" if store.trust is not None else "SIGNED BY (?)", Kind.TEXT, rank=5))
        for row, version in zip(rows, listed, strict=True):
            row.append(shown(version.signatures) if version.signatures else "")
    output.table(settings, columns, rows)
