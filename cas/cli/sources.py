"""`cas sources`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from cas.cli.display import output
from cas.cli.display.table import Column, Kind
from cas.cli.options import Settings, common
from cas.errors import InputError

if TYPE_CHECKING:
    from cas.hub.builtin_sources import BuiltinSource


@click.command(short_help="List the sources that --source takes by name.")
@click.argument("name", required=False)
@common
def sources(settings: Settings, name: str | None) -> None:
    """List the built-in sources, which `cas publish --source NAME` takes; with NAME, print that one's file.

    A source of your own is such a file, and --source takes its path. No server is asked.
    """
    from cas.hub.builtin_sources import builtin_sources

    found = {source.name: source for source in builtin_sources()}
    if name is not None and name not in found:
        raise InputError(f"there is no built-in source {name!a}: choose one of {', '.join(found)}")
    chosen = [found[name]] if name is not None else list(found.values())
    if settings.json:
        documents = [_document(source) for source in chosen]
        output.document(documents if name is None else documents[0])
    elif name is not None:
        sys.stdout.write(chosen[0].text)
    else:
        if settings.quiet:
            output.ids(found)
            return
        rows = [(source.name, source.description, source.command) for source in chosen]
        columns = (Column("SOURCE"), Column("WHAT", Kind.TEXT, rank=1), Column("COMMAND", Kind.TEXT))
        output.table(settings, columns, rows)


def _document(source: BuiltinSource) -> dict[str, object]:
    what = source.read()
    repos = [
        {
            "id": repo.repo_id,
            "revision": repo.revision,
            "include": list(repo.include),
            "exclude": list(repo.exclude),
        }
        for repo in what.repos
    ]
    return {
        "name": source.name,
        "description": source.description,
        "command": source.command,
        "file": str(source.path),
        "repos": repos,
        "layout": list(what.layout),
    }
