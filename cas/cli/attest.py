"""`cas attest`."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cas.cli.display import output
from cas.cli.options import Settings, common, not_empty
from cas.errors import InputError

if TYPE_CHECKING:
    from cas.ops.attest.attester import Attested


@click.command(short_help="State what a version's files are, for model-signing.")
@click.argument("reference", metavar="REF")
@click.option("-o", "--output", "file", metavar="FILE", help="Where to. Default: standard output.")
@click.option(
    "--sign-with",
    "key",
    metavar="KEY",
    callback=not_empty,
    help="Sign it with this key: a file in PEM, on P-256, P-384 or P-521. Also: CAS_ATTEST_KEY.",
)
@click.option(
    "--layout",
    metavar="LAYOUT",
    help="Of the folder that is verified, as for `cas restore --to`: {path} (default), {repo}/{path}, or {name}.",
)
@common
def attest(settings: Settings, reference: str, file: str | None, key: str | None, layout: str | None) -> None:
    """State what every file of REF hashes to (sha256), and where it comes from, as an in-toto statement.

    With a key, it is a bundle that OpenSSF model-signing verifies without any service: `model_signing verify key DIR
    --signature FILE --public_key PUB`, in a folder that `cas restore --to DIR` filled.
    """
    from cas.cli.display.progress import reporter_for
    from cas.cli.process import keep_memory_together, leave_cores_alone
    from cas.formats.folder_paths import LAYOUTS
    from cas.local.whole_file import write_whole
    from cas.ops.attest import attester
    from cas.ops.attest.ec_key import key_named

    if file is None and settings.json:
        raise InputError("the statement and --json both go to standard output: name a file with -o")
    keep_memory_together()
    leave_cores_alone()
    with reporter_for(settings) as reporter:
        done = attester.attest(
            reference,
            settings.store,
            layout=layout or LAYOUTS[0],
            key=key_named(key),
            on_event=reporter.listen,
        )
    if file is None:
        sys.stdout.write(done.data.decode() + "\n")
    else:
        write_whole(Path(file), done.data, "choose another with -o")
    if settings.json:
        output.document(_document(done, file))
        return
    if not settings.quiet:
        print(output.short(_summary(done), whole=settings.no_trunc), file=sys.stderr)
    if file is not None:
        print(file)


def _document(done: Attested, file: str | None) -> dict[str, object]:
    document = dataclasses.asdict(done)
    del document["data"]
    return {**document, "release": done.release and done.release.document(), "file": file}


def _summary(done: Attested) -> str:
    what = f"{output.count(done.files, 'file')}, {output.size(done.total)}"
    if done.unchecked:
        what += f"; verifiers leave out {', '.join(done.unchecked)}"
    how = "signed" if done.is_signed else "not signed: --sign-with or CAS_ATTEST_KEY names a key"
    by = "no ref led to it" if done.release is None else done.release.shown
    return f"attested {done.reference} ({by}): {what}; {how} ({done.seconds:.1f} s)"
