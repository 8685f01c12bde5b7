"""`cas ls`."""

from __future__ import annotations

import sys

import click

from cas.cli.display import output
from cas.cli.options import Settings, common


@click.command(short_help="List models, or the versions of one.")
@click.argument("model", required=False)
@common
def ls(settings: Settings, model: str | None) -> None:
    """List all models by tag and pin, or every version of MODEL, newest first.

    Where tags or pins are signed, the last column says by which keys; with (?) that is not verified, as no key is
    trusted here.
    """
    from cas.ops.inspect import versions
    from cas.ops.inspect.signatures import shown
    from cas.store.store import open_store

    store = open_store(settings.store)
    listed = versions.versions(store, model)
    signatures = [signature for version in listed for signature in version.signatures]
    if settings.json:
        output.document([version.document() for version in listed])
        return
    if not listed:
        if not settings.quiet:
            print(f"{store.url} is empty: publish a model with `cas publish`", file=sys.stderr)
        return
    header = ["MODEL", "TAGS", "VERSION", "CREATED", "SIZE", "FILES"]
    rows = [
        [
            version.model,
            version.names.shown or "-",
            output.short(version.digest),
            version.created,
            output.size(version.size),
            str(version.files),
        ]
        for version in listed
    ]
    if any(version.variant for version in listed):
        header.append("VARIANT")
        for row, version in zip(rows, listed, strict=True):
            row.append(version.variant.shown(output.SHORT_DIGEST) if version.variant else "")
    if store.trust is not None or any(signature.key_ids for signature in signatures):
        header.append("SIGNED BY" if store.trust is not None else "SIGNED BY (?)")
        for row, version in zip(rows, listed, strict=True):
            row.append(shown(version.signatures) if version.signatures else "")
    output.table(header, rows)
