"""`cas verify`."""

from __future__ import annotations

import dataclasses
import sys

import click

from cas.cli.display import output
from cas.cli.options import Settings, cache_dir_option, chosen_version, common, lock_option
from cas.errors import InputError, IntegrityError


@click.command(short_help="Re-hash a model on this machine.")
@click.argument("reference", metavar="[REF]", required=False)
@lock_option
@cache_dir_option
@common
def verify(settings: Settings, reference: str | None, lock: str | None, cache_dir: str | None) -> None:
    """Re-hash every file of REF on this machine; exit code 4 when one is missing or damaged."""
    from cas.cli.display.progress import reporter_for
    from cas.ops import verify as operation

    if reference is None and lock is None:
        raise InputError("say which version to verify: give a REF, or --lock FILE")
    chosen = chosen_version(settings, reference, lock)
    with reporter_for(settings) as reporter:
        report = operation.verify(chosen.version(), settings.store, cache_dir=cache_dir, on_event=reporter.listen)
    if settings.json:
        output.document({**dataclasses.asdict(report), "sound": report.sound})
    else:
        for path in report.missing:
            print(f"missing  {path}")
        for path in report.damaged:
            print(f"damaged  {path}")
    if not report.sound:
        raise IntegrityError(
            f"{len(report.missing)} missing and {len(report.damaged)} damaged of {report.files} files: "
            f"heal them with `cas restore {chosen}`"
        )
    if not settings.quiet:
        version = output.short(report.reference, whole=settings.no_trunc)
        print(f"{version}: {report.files} files, {output.size(report.total)}, all sound", file=sys.stderr)
