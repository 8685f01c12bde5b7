"""`cas env`."""

from __future__ import annotations

import shlex
import sys

import click

from cas.cli import output
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

    Without REF, the version that CAS_MODEL, CAS_LOCK or the pin of CAS_DEPLOYMENT names.
    """
    from cas import refs
    from cas.config import cache_dirs
    from cas.local.environment import client_variables
    from cas.local.hf_cache import RepoCache
    from cas.store.store import open_store

    chosen = chosen_version(settings, reference, lock)
    version = chosen.version()
    resolved = version if isinstance(version, refs.Resolved) else refs.resolve(open_store(settings.store), version)
    dirs = cache_dirs(cache_dir)
    variables = {**client_variables(dirs), "CAS_MODEL": resolved.exact}
    if settings.json:
        output.document(variables)
    else:
        for name, value in variables.items():
            _check_printed(name, value)
        for name, value in variables.items():
            print(f"export {name}={shlex.quote(value)}")
    for repo in resolved.manifest.repos:
        cache = RepoCache(dirs.hub, repo.repo_type, repo.repo_id)
        if not (cache.root / "snapshots" / repo.commit).is_dir():
            print(f"warning: {repo.repo_id} is not in {dirs.hub} yet: run `cas restore {chosen}`", file=sys.stderr)


def _check_printed(name: str, value: str) -> None:
    """Refuse a value that would be printed as escapes: the shell that evaluates the line would keep them."""
    encoding = sys.stdout.encoding or "utf-8"
    if printable(value) != value or value.encode(encoding, "replace").decode(encoding, "replace") != value:
        raise InputError(f"{name}={value} cannot be printed in {encoding} as it is: choose another --cache-dir")
