"""`cas tree`."""

from __future__ import annotations

import sys
from itertools import groupby
from typing import TYPE_CHECKING

import click

from cas.cli.display import output, terminal
from cas.cli.options import Settings, common

if TYPE_CHECKING:
    from cas.ops.inspect.tree import TreeLine

_SHORT_DIGEST = 8  # hex digits: a line of the tree has less space than a row of a table


@click.command(short_help="Show which version came from which.")
@click.argument("model", required=False)
@common
def tree(settings: Settings, model: str | None) -> None:
    """Show every version of MODEL, or of all models, below the one that it came from, the newest last.

    A version goes on where its parent stands; variants and other branches are indented.
    """
    from cas.ops.inspect import versions
    from cas.ops.inspect.tree import tree as tree_of
    from cas.store.store import open_store

    store = open_store(settings.store)
    listed = versions.with_lineage(store, versions.versions(store, model, every=True))
    trees = {name: tree_of(list(found)) for name, found in groupby(listed, key=lambda version: version.model)}
    if settings.json:
        output.document([{"model": name, "versions": list(map(_document, lines))} for name, lines in trees.items()])
        return
    if not trees and not settings.quiet:
        print(f"{store.url} is empty: publish a model with `cas publish`", file=sys.stderr)
    limit = terminal.width()
    for name, lines in trees.items():
        terminal.print_line(terminal.fitted("", name, limit=limit))
        for branch, line in zip(terminal.branches([line.depth for line in lines]), lines, strict=True):
            terminal.print_line(terminal.fitted(branch, _shown(line, first=line is lines[0]), limit=limit))


def _document(line: TreeLine) -> dict[str, object]:
    from cas.formats.digest import named

    return {
        **line.version.document(),
        "by": line.version.by or None,
        "parent": named(line.version.parent) if line.version.parent else None,
        "below": named(line.parent) if line.parent else None,
        "depth": line.depth,
        "readable": line.version.readable,
    }


def _shown(line: TreeLine, *, first: bool) -> str:
    version = line.version
    pieces = [version.digest[:_SHORT_DIGEST] or "?" * _SHORT_DIGEST, version.names.shown]
    pieces.append(version.variant.shown(_SHORT_DIGEST) if version.variant else "")
    if version.readable:
        pieces += [version.created, output.size(version.size)]
    else:
        pieces.append(version.created)
    if line.parent is None and version.parent:
        pieces.append(f"(after {version.parent[:_SHORT_DIGEST]}…, which is not here)")
    elif line.parent is None and not first and version.readable:
        pieces.append("(without a parent)")
    return "  ".join(piece for piece in pieces if piece)
