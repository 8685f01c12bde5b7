"""Move and remove tags and pins, for the commands that do so by hand: tag, untag, pin, unpin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cas.cli.options import Settings

if TYPE_CHECKING:
    from cas.refs.reference import Resolved
    from cas.refs.reflog import Ref
    from cas.store.store import Store


def point_refs(
    settings: Settings,
    store: Store,
    resolved: Resolved,
    refs: Sequence[Ref],
    by: str | None,
    reason: str,
    expected: str | None,
) -> tuple[Ref, ...]:
    """Point refs at a version; return those that named another one before.

    Args:
        settings: the global options, for the progress report.
        store: where the refs are.
        resolved: the version that the refs shall name.
        refs: the tags or pins to move.
        by: who moves them, as the log records it; None for user@host.
        reason: why, as the log records it.
        expected: the value of --expect, which each ref must name now; None to move it whatever it names.
    """
    from cas.cli.display.progress import reporter_for
    from cas.refs import move

    before = {ref: move.expected_move(store, ref, expected) if expected else None for ref in refs}
    with reporter_for(settings) as reporter:
        return move.move(store, before, resolved.digest, reason, by, reporter.listen)


def remove_refs(settings: Settings, store: Store, refs: Sequence[Ref], by: str | None, reason: str) -> None:
    """Remove refs, and print which were removed and how each comes back."""
    from cas.cli.display import output
    from cas.cli.display.progress import reporter_for
    from cas.refs import move

    with reporter_for(settings) as reporter:
        removed = move.move(store, dict.fromkeys(refs), None, reason, by, reporter.listen)
    if settings.json:
        output.document({"removed": [str(ref) for ref in removed], "store": store.url})
        return
    for ref in removed:
        print(f"{ref} removed: `cas rollback {ref}` puts it back")
    output.print_store(settings, store)
