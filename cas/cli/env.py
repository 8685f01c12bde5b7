"""`cas env`."""

from __future__ import annotations

import shlex
import sys

import click

from cas.cli.display import output, paint
from cas.cli.options import Settings, cache_dir_option, chosen_version, common, lock_option
from cas.errors import InputError
from cas.formats.printable import printable


@click.command(short_help="Print the export lines under which clients find a model.")
@click.argument("reference", metavar="[REF]", required=False)
@lock_option
@cache_dir_option
@common
def env(settings: Settings, reference: str | None, lock: str | None, cache_dir: str | None) -> None:
    """Print the lines that make clients use the restored REF: eval "$(cas env REF)".

    They lead to a view of the hub cache in which REF stays what it is, whatever is restored later.

    Without REF, the version that CAS_MODEL, CAS_LOCK or the pin of CAS_DEPLOYMENT names.
    """
    from cas import refs
    from cas.cli.display.progress import reporter_for
    from cas.config import cache_dirs
    from cas.local.environment import client_variables
    from cas.ops.restore.in_use import view_variables
    from cas.store.store import open_store

    chosen = chosen_version(settings, reference, lock, cache_dir)
    version = chosen.version()
    dirs = cache_dirs(cache_dir)
    resolved = (
        version
        if isinstance(version, refs.Resolved)
        else refs.resolve(open_store(settings.store), version, (dirs.hub,))
    )
    found = view_variables(resolved, dirs, reporter_for(settings).listen)
    variables = {**(found or client_variables(dirs)), "CAS_MODEL": resolved.exact}
    if settings.json:
        output.document(variables)
    else:
        for name, value in variables.items():
            _check_printed(name, value)
        for name, value in variables.items():
            print(f"export {name}={shlex.quote(value)}")
    if found is None:
        paint.warn(
            sys.stderr, f"{chosen} is not in {dirs.hub} yet, or not all of it: run `cas restore {chosen}`, then this"
        )


def _check_printed(name: str, value: str) -> None:
    """Refuse a value that would be printed as escapes: the shell that evaluates the line would keep them."""
    encoding = sys.stdout.encoding or "utf-8"
    if printable(value) != value or value.encode(encoding, "replace").decode(encoding, "replace") != value:
        raise InputError(f"{name}={value} cannot be printed in {encoding} as it is: choose another --cache-dir")
