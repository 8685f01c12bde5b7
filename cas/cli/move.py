"""What the commands share that move tags and pins by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from cas.cli.options import Settings

if TYPE_CHECKING:
    from cas.refs.reference import Resolved
    from cas.refs.reflog import Ref
    from cas.store.store import Store


def recorded(reason: str | None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds --by and --reason to a command. reason: what is recorded unless another is given."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        by = click.option("--by", help="Who moves it. Default: user@host.")
        why = click.option("--reason", default=reason, help="Why, for the record.")
        return by(why(function))

    return add


expect = click.option(
    "--expect", metavar="DIGEST", help="Refuse, with exit code 6, unless it now names this version, or `none`."
)


def point(
    settings: Settings,
    store: Store,
    resolved: Resolved,
    refs: Sequence[Ref],
    by: str | None,
    reason: str,
    seen: str | None,
) -> tuple[Ref, ...]:
    """Moves refs to a version, and returns those that named another. seen: what --expect said, or nothing."""
    from cas.cli.progress import Reporter
    from cas.refs import move

    expected = {ref: move.seen(store, ref, seen) if seen else None for ref in refs}
    with Reporter(quiet=settings.quiet, verbose=settings.verbose) as reporter:
        return move.move(store, expected, resolved.digest, reason, by, reporter.listen)


def remove(settings: Settings, store: Store, refs: Sequence[Ref], by: str | None, reason: str) -> None:
    """Removes refs, and says so."""
    from cas.cli import output
    from cas.cli.progress import Reporter
    from cas.refs import move

    with Reporter(quiet=settings.quiet, verbose=settings.verbose) as reporter:
        removed = move.move(store, dict.fromkeys(refs), None, reason, by, reporter.listen)
    if settings.json:
        output.document({"removed": [str(ref) for ref in removed]})
        return
    for ref in removed:
        print(f"{ref} removed: `cas rollback {ref}` puts it back")
