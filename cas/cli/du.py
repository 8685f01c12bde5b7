"""`cas du`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from cas.cli.display import output, paint, terminal
from cas.cli.display.table import Column, Kind
from cas.cli.options import Settings, common

if TYPE_CHECKING:
    from cas.ops.inspect.usage import Usage


@click.command(short_help="Show what versions take up, share and would free.")
@click.argument("model", metavar="[MODEL|PATTERN|REF]", required=False)
@common
def du(settings: Settings, model: str | None) -> None:
    """Show what each version of MODEL, or of all models, takes up in the store, newest first, and the store's totals.

    A PATTERN asks for several models (f5*), tags (f5*:v*) or pins (pin:eu-*).

    STORED is what its chunks take; SHARED, what other versions need, too; FREED, what removing it would free.
    """
    from cas.cli.display.progress import reporter_for
    from cas.ops.inspect.usage import usage

    with reporter_for(settings) as reporter:
        found = usage(settings.store, model, on_event=reporter.listen)
    if found.unreadable:
        paint.warn(
            sys.stderr, f"{found.unreadable} versions cannot be read; what only they need is shown as needed by none"
        )
    if found.missing:
        paint.warn(sys.stderr, f"{found.missing} chunks that versions need are not in the store")
    if settings.json:
        output.document(_document(found))
        return
    if settings.quiet:
        output.ids(
            output.short(f"{version.model}@{version.digest}", whole=settings.no_trunc) for version in found.versions
        )
        return
    if found.versions:
        output.table(
            settings,
            (
                Column("MODEL"),
                Column("VERSION", Kind.DIGEST),
                Column("CREATED", Kind.TIME, rank=5),
                Column("PLAIN", rank=2),
                Column("STORED", rank=1),
                Column("SHARED", rank=3),
                Column("FREED"),
                Column("TAGS", Kind.NAMES, rank=4),
            ),
            [
                (
                    version.model,
                    version.digest,
                    version.created,
                    *(output.size(size) for size in (version.plain, version.stored, version.shared, version.freed)),
                    version.names.shown or "-",
                )
                for version in found.versions
            ],
        )
        print()
    for line in _totals(found):
        for text in terminal.wrapped(line, output.limit(settings)):
            print(text)


def _document(found: Usage) -> dict[str, object]:
    from cas.formats.digest import named

    versions = []
    for version in found.versions:
        given = asdict(version)
        del given["names"]
        versions.append({**given, "digest": named(version.digest), **version.names._asdict()})
    return {**asdict(found), "versions": versions, "ratio": found.ratio}


def _totals(found: Usage) -> list[str]:
    lines = [f"plain     {output.size(found.plain)} in {found.count} versions"]
    if found.ratio is None or not found.distinct:
        lines.append("stored    nothing")
    else:
        shares = f"{found.plain / found.distinct:.2f} by sharing, {found.distinct / found.stored:.2f} by compression"
        lines.append(
            f"stored    {output.size(found.stored)} in {found.chunks} chunks: "
            f"{found.ratio:.2f} times smaller ({shares})"
        )
    lines.append(f"unneeded  {output.size(found.unneeded)} in {found.unneeded_chunks} chunks that no version needs")
    if found.superseded is None:
        lines.append("superseded  unknown: this key may not list stored versions (s3:ListBucketVersions)")
    elif found.superseded_versions:
        what = output.count(found.superseded_versions, "stored version")
        size = output.size(found.superseded)
        lines.append(f"superseded  {size} in {what} of overwritten and deleted objects, freed by `cas gc`")
    return lines
