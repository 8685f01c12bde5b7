"""`cas info`."""

from __future__ import annotations

import click

from cas.cli.display import output
from cas.cli.display.table import Column, Kind
from cas.cli.options import Settings, common
from cas.errors import InputError


@click.command(short_help="Show each setting, where it comes from and what it decides.")
@common
def info(settings: Settings) -> None:
    """Show each setting that counts, where it comes from and what it decides; secrets are hidden.

    Nothing is asked of a server: `cas doctor` does that. Exit code 2 if a setting cannot be used.
    """
    from cas.ops.inspect import settings as found
    from cas.version import __version__

    rows, variables = found.settings(settings.store), found.variables()
    errors = [row.error for row in rows if row.error]
    if settings.json:
        output.document(
            {
                "version": __version__,
                "settings": [row._asdict() for row in rows],
                "variables": [{"name": row.name, "value": row.value, "decides": row.decides} for row in variables],
            }
        )
    else:
        shown = [
            (row.name, "cannot be used", row.source, row.error)
            if row.error
            else (row.name, row.value or "-", row.source, row.decides)
            for row in rows
        ]
        output.table(
            settings,
            # A value is typed back, and half a sentence says nothing: both are whole, or the sentences are left out.
            (Column("SETTING"), Column("VALUE"), Column("FROM", Kind.TEXT), Column("DECIDES", rank=1)),
            shown,
        )
        if variables:
            print()
            output.table(
                settings,
                (Column("VARIABLE"), Column("VALUE"), Column("DECIDES", rank=1)),
                [(row.name, row.value or "(empty)", row.decides) for row in variables],
            )
    if errors:
        raise InputError(errors[0])
