"""`cas export`."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

import click

from cas.cli.display import output
from cas.cli.options import Settings, common
from cas.errors import InputError

if TYPE_CHECKING:
    from cas.ops.transfer.result import Exported


@click.command(short_help="Write versions to one file, an archive.")
@click.argument("references", metavar="REF...", nargs=-1, required=True)
@click.option("-o", "--output", "file", metavar="FILE", required=True, help="The archive; - for standard output.")
@click.option("--no-refs", is_flag=True, help="Leave out the tags and pins by which REF names a version.")
@common
def export(settings: Settings, references: tuple[str, ...], file: str, no_refs: bool) -> None:
    """Write each version REF to one file: a tar of a store's own objects, each chunk verified.

    `cas import` brings it into a store; `--store FILE` reads it where it lies.
    """
    from cas.cli.display.progress import reporter_for
    from cas.cli.process import keep_memory_together, leave_cores_alone
    from cas.ops.transfer import exporter

    to_stream = file == exporter.STREAM
    if to_stream and sys.stdout.isatty():
        raise InputError("-o - writes the archive to standard output, which is a terminal: redirect it, or name a file")
    if to_stream and settings.json:
        raise InputError("-o - and --json both write to standard output: name a file")
    keep_memory_together()
    leave_cores_alone()
    with reporter_for(settings) as reporter:
        done = exporter.export(
            references,
            sys.stdout.buffer if to_stream else file,
            settings.store,
            named_too=not no_refs,
            on_event=reporter.listen,
        )
    if settings.json:
        output.document(dataclasses.asdict(done))
        return
    if not settings.quiet:
        for original in done.originals:
            print(
                f"{original}, from which a variant was derived, is not in the archive: nothing but "
                "`cas derive --check` needs it",
                file=sys.stderr,
            )
        print(_summary(done), file=sys.stderr)
    if not to_stream:
        print(done.file)


def _summary(done: Exported) -> str:
    what = f"{output.count(len(done.versions), 'version')} ({output.size(done.total)})"
    refs = f", named {', '.join(done.refs)}" if done.refs else ""
    return (
        f"exported {what}{refs} from {done.store} to {done.file}: {output.size(done.size)} in "
        f"{output.count(done.chunks, 'chunk')} ({done.seconds:.1f} s)"
    )
