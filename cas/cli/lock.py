"""`cas lock`."""

from __future__ import annotations

import dataclasses
import sys

import click

from cas.cli import output
from cas.cli.options import Settings, common


@click.command(short_help="Write a version's manifest to a file to restore by.")
@click.argument("reference", metavar="REF")
@click.option("-o", "--output", "path", metavar="FILE", required=True, help="Where to; its digest goes to FILE.b3.")
@common
def lock(settings: Settings, reference: str, path: str) -> None:
    """Write the manifest of REF to FILE and its digest to FILE.b3, to commit both or to put both into an image.

    `cas restore --lock FILE` then restores this version, whatever becomes of tags and manifests in the bucket.
    """
    from cas.refs.lock_file import write_lock

    locked = write_lock(reference, settings.store, path)
    if settings.json:
        output.document(dataclasses.asdict(locked))
        return
    if not settings.quiet:
        print(f"locked {locked.reference} in {locked.lock}, its digest in {locked.digest_file}", file=sys.stderr)
    print(locked.reference)
