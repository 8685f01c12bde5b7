"""`cas mirror`."""

from __future__ import annotations

import click

from cas.cli.copy import print_copied
from cas.cli.options import Settings, author_options, common, sign_with_option, use_signer


@click.command(short_help="Keep models in another store equal to those here.")
@click.argument("prefixes", metavar="[PREFIX|PATTERN]...", nargs=-1)
@click.argument("destination", metavar="DEST")
@click.option("--delete", is_flag=True, help="Remove tags and pins of these models that only DEST has.")
@click.option("--verify", is_flag=True, help="Decode and hash every chunk on its way, not only where it is restored.")
@author_options(None)
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be copied; write nothing.")
@sign_with_option
@common
def mirror(
    settings: Settings,
    prefixes: tuple[str, ...],
    destination: str,
    delete: bool,
    verify: bool,
    by: str | None,
    reason: str | None,
    dry_run: bool,
    sign_with: str | None,
) -> None:
    """Keep the tags and pins of all models, or of some, equal in the store DEST.

    A PREFIX is what the names of models begin with, a PATTERN (f5*) what they match. The versions that tags and pins
    name are copied before them; what was removed here is removed there.
    """
    from cas.cli.display.progress import reporter_for
    from cas.cli.process import keep_memory_together, leave_cores_alone
    from cas.ops.transfer import mirror as mirroring
    from cas.ops.transfer.receiver import Author
    from cas.store.store import open_store

    keep_memory_together()
    leave_cores_alone()
    settings.destination = destination
    target = open_store(destination)
    use_signer(target, sign_with)
    with reporter_for(settings) as reporter:
        done = mirroring.mirror(
            prefixes,
            target,
            settings.store,
            delete=delete,
            verify=verify,
            dry_run=dry_run,
            author=Author(by, reason),
            on_event=reporter.listen,
        )
    print_copied(settings, done)
