"""`cas pin`, `cas pins` and `cas unpin`."""

from __future__ import annotations

import sys

import click

from cas.cli.display import output
from cas.cli.display.table import Column, Kind
from cas.cli.options import Settings, author_options, common, expect_option, sign_with_option, use_signer
from cas.cli.tag import print_moved, print_removed


@click.command(short_help="Pin the version that a deployment restores.")
@click.argument("deployment")
@click.argument("reference", metavar="REF")
@author_options("pin")
@expect_option
@sign_with_option
@common
def pin(
    settings: Settings,
    deployment: str,
    reference: str,
    by: str | None,
    reason: str,
    expect: str | None,
    sign_with: str | None,
) -> None:
    """Pin the version REF for DEPLOYMENT, which restores it as pin:DEPLOYMENT/MODEL until it is pinned anew."""
    from cas.api import names
    from cas.cli.display.progress import reporter_for
    from cas.store.store import open_store

    store = open_store(settings.store)
    use_signer(store, sign_with)
    with reporter_for(settings) as reporter:
        done = names.pin(deployment, reference, store, by=by, reason=reason, expect=expect, on_event=reporter.listen)
    if settings.json:
        output.document({"reference": done.reference, "moved": done.moved, "store": store.url})
        return
    output.print_store(settings, store)
    print_moved(settings, done)


@click.command(short_help="List what deployments have pinned.")
@click.argument("deployment", metavar="[DEPLOYMENT|PATTERN]", required=False)
@common
def pins(settings: Settings, deployment: str | None) -> None:
    """List what every deployment, or DEPLOYMENT, has pinned, and which tags name the same version.

    A PATTERN asks for several: eu-* for all their pins, eu-*/minilm for those of one model.
    """
    from cas.refs import pins as pinning
    from cas.store.store import open_store

    store = open_store(settings.store)
    found = pinning.pins(store, deployment)
    if settings.json:
        output.document([pin.document() for pin in found])
        return
    if not found:
        if not settings.quiet:
            print(f"{store.url} has no pins: pin a version with `cas pin DEPLOYMENT REF`", file=sys.stderr)
        return
    if settings.quiet:
        output.ids(f"pin:{pin.deployment}/{pin.model}" for pin in found)
        return
    columns = (
        Column("DEPLOYMENT"),
        Column("MODEL"),
        Column("VERSION", Kind.DIGEST),
        Column("TAGS", Kind.NAMES, rank=4),
        Column("SINCE", Kind.TIME, rank=2),
        Column("BY", Kind.TEXT, rank=1),
        Column("REASON", Kind.TEXT, rank=3),
    )
    rows = [
        (
            pin.deployment,
            pin.model,
            pin.digest or "-",
            ", ".join(pin.tags) or "-",
            pin.since,
            pin.by or "-",
            pin.reason,
        )
        for pin in found
    ]
    output.table(settings, columns, rows)


@click.command(short_help="Remove a deployment's pin.")
@click.argument("deployment")
@click.argument("model", required=False)
@author_options("unpin")
@sign_with_option
@common
def unpin(
    settings: Settings, deployment: str, model: str | None, by: str | None, reason: str, sign_with: str | None
) -> None:
    """Remove the pin of MODEL, which may be left out when DEPLOYMENT has pinned one model only."""
    from cas.api import names
    from cas.cli.display.progress import reporter_for
    from cas.store.store import open_store

    store = open_store(settings.store)
    use_signer(store, sign_with)
    with reporter_for(settings) as reporter:
        done = names.unpin(deployment, model, store, by=by, reason=reason, on_event=reporter.listen)
    print_removed(settings, store, done)
