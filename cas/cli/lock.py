"""`cas lock`."""

from __future__ import annotations

import dataclasses
import sys

import click

from cas.cli.display import output
from cas.cli.options import Settings, common, noted, sign_with_option, use_signer


@click.command(short_help="Write a version's manifest to a file to restore by.")
@click.argument("reference", metavar="REF")
@click.option("-o", "--output", "path", metavar="FILE", required=True, help="Where to; its digest goes to FILE.b3.")
@sign_with_option
@common
def lock(settings: Settings, reference: str, path: str, sign_with: str | None) -> None:
    """Write the manifest of REF to FILE and its digest to FILE.b3, to commit both or to put both into an image.

    `cas restore --lock FILE` then restores this version, whatever becomes of tags and manifests in the bucket. With a
    key, FILE.minisig is a signature of FILE, which `minisign -Vm FILE` and, where keys are trusted, restores check.
    """
    from cas.refs.lock_file import write_lock
    from cas.store.store import open_store

    store = open_store(settings.store)
    use_signer(store, sign_with)
    locked = write_lock(reference, store, path, noted(settings))
    if settings.json:
        output.document({name: value for name, value in dataclasses.asdict(locked).items() if value is not None})
        return
    if not settings.quiet:
        signed = f", signed by {locked.key_id} in {locked.signature_file}" if locked.key_id else ""
        version = output.short(locked.reference, whole=settings.no_trunc)
        print(f"locked {version} in {locked.lock}, its digest in {locked.digest_file}{signed}", file=sys.stderr)
    print(locked.reference)
