"""`cas derive`."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

import click

from cas.cli.display import output
from cas.cli.options import Settings, common, sign_with_option, use_signer
from cas.errors import InputError

if TYPE_CHECKING:
    from cas.ops.derive.deriver import Variant


@click.command(short_help="Publish a variant: the same model, cast to float16.")
@click.argument("reference", metavar="REF")
@click.option(
    "--cast", type=click.Choice(["float16", "bfloat16"]), help="Cast the floats of safetensors files to this."
)
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="Tag of the variant; repeatable. No default.")
@click.option("--check", is_flag=True, help="Prove the variant REF again; exit code 4 if it is not its original, cast.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be cast; write nothing to the store.")
@sign_with_option
@common
def derive(
    settings: Settings,
    reference: str,
    cast: str | None,
    tags: tuple[str, ...],
    check: bool,
    dry_run: bool,
    sign_with: str | None,
) -> None:
    """Publish a variant of REF under TAG, from the store to the store, each tensor proven to be the original, cast."""
    from cas.cli.process import keep_memory_together, leave_cores_alone, return_large_blocks

    keep_memory_together()
    leave_cores_alone()
    return_large_blocks()
    if check:
        if cast or tags or dry_run:
            raise InputError("--check goes alone: it proves a variant that is there, and writes nothing")
        _check(settings, reference)
    elif not cast:
        raise InputError("say what to derive: --cast float16 or --cast bfloat16; or --check to prove a variant")
    else:
        _derive(settings, reference, cast, tags, sign_with, dry_run=dry_run)


def _derive(
    settings: Settings, reference: str, cast: str, tags: tuple[str, ...], sign_with: str | None, *, dry_run: bool
) -> None:
    from cas.cli.display.progress import reporter_for
    from cas.ops.derive import deriver
    from cas.store.store import open_store

    store = open_store(settings.store)
    use_signer(store, sign_with)
    with reporter_for(settings) as reporter:
        done = deriver.derive(reference, store, cast=cast, tags=tags, dry_run=dry_run, on_event=reporter.listen)
    if settings.json:
        document = {**dataclasses.asdict(done), "reference": done.reference or None, "proof": done.proof or None}
        output.document({**document, "store": store.url})
        return
    if not settings.quiet:
        print(_summary(done), file=sys.stderr)
        output.print_store(settings, store)
    if done.reference:
        print(done.reference)


def _check(settings: Settings, reference: str) -> None:
    from cas.cli.display.progress import reporter_for
    from cas.ops.derive.check import check

    with reporter_for(settings) as reporter:
        done = check(reference, settings.store, on_event=reporter.listen)
    if settings.json:
        output.document(dataclasses.asdict(done))
    elif not settings.quiet:
        print(
            f"{done.reference} is {done.original}, {done.transform}: {done.tensors} tensors compared "
            f"({done.seconds:.1f} s)",
            file=sys.stderr,
        )


def _summary(done: Variant) -> str:
    files = f"{len(done.cast)} of {done.files} files {'cast' if done.proof else 'to be cast'}"
    pieces = [f"{files}, {done.tensors} tensors: {output.size(done.before)} -> {output.size(done.total)}"]
    if not done.dry_run and not done.created:
        pieces.append("the store had the variant")
    elif not done.dry_run:
        pieces.append(
            f"each proven; {output.size(done.wire)} uploaded in {done.uploaded_chunks} of {done.chunks} chunks"
        )
    if len(done.pickles) == 1:
        pieces.append(f"{done.pickles[0]} is a pickle and stays as it is")
    elif done.pickles:
        pieces.append(f"{done.pickles[0]} and {len(done.pickles) - 1} more are pickles and stay as they are")
    if done.dry_run:
        return "; ".join([*pieces, "nothing was written to the store"])
    if done.moved:
        pieces.append(f"moved {', '.join(done.moved)}")
    return f"{'; '.join(pieces)} ({done.seconds:.1f} s)"
