"""`cas tree`."""

from __future__ import annotations

import sys
from itertools import groupby
from typing import TYPE_CHECKING

import click

from cas.cli.display import output, terminal
from cas.cli.display.times import ago
from cas.cli.options import Settings, common, noted

if TYPE_CHECKING:
    from cas.ops.inspect.tree import TreeLine


@click.command(short_help="Show which version came from which.")
@click.argument("model", metavar="[MODEL|PATTERN|REF]", required=False)
@common
def tree(settings: Settings, model: str | None) -> None:
    """Show every version of MODEL, or of all models, below the one that it came from, the newest last.

    A PATTERN (f5*) asks for several models, a REF for the model of a version.

    A version goes on where its parent stands; variants and other branches are indented.
    """
    from cas.ops.inspect import versions
    from cas.ops.inspect.tree import tree as tree_of
    from cas.store.store import open_store

    store = open_store(settings.store)
    listed = versions.with_lineage(
        store, versions.versions(store, model, every=model is None, whole=True, listen=noted(settings))
    )
    trees = {name: tree_of(list(found)) for name, found in groupby(listed, key=lambda version: version.model)}
    if settings.json:
        output.document([{"model": name, "versions": list(map(_document, lines))} for name, lines in trees.items()])
        return
    if not trees and not settings.quiet:
        print(f"{store.url} is empty: publish a model with `cas publish`", file=sys.stderr)
    if settings.quiet:
        digests = [(name, line.version.digest) for name, lines in trees.items() for line in lines]
        output.ids(output.short(f"{name}@{digest}", whole=settings.no_trunc) for name, digest in digests if digest)
        return
    limit = output.limit(settings)
    for name, lines in trees.items():
        terminal.print_line(terminal.fitted("", name, limit=limit))
        for branch, line in zip(terminal.branches([line.depth for line in lines]), lines, strict=True):
            terminal.print_line(_shown(branch, line, limit, first=line is lines[0], whole=settings.no_trunc))


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


def _shown(branch: str, line: TreeLine, limit: int | None, *, first: bool, whole: bool) -> str:
    """The line of a version; where the terminal is narrow, it has no size, time and origin, as far as need be."""
    from cas.formats.digest import SHORT

    version = line.version
    digest = output.short(version.digest, whole=whole) or "?" * SHORT
    names = version.names.shown
    dispensable = [version.variant.shown] if version.variant else []
    if version.readable:
        created = version.created if limit is None else ago(version.created)
        dispensable += [created, output.size(version.size)]
    else:
        names += f"  {version.created}" if names else version.created
    if line.parent is None and version.parent:
        dispensable.append(f"(after {version.parent}, which is not here)")
    elif line.parent is None and not first and version.readable:
        dispensable.append("(without a parent)")
    before = f"{branch}{digest}  "
    for count in range(len(dispensable), -1, -1):
        pieces = filter(None, [names, *dispensable[:count]])
        shown = before + output.short("  ".join(pieces), whole=whole)
        if limit is None or terminal.columns(shown.rstrip()) <= limit:
            return shown.rstrip()
    return terminal.fitted(before, names, limit=limit)
