"""Refuse, unless it is wanted, a publish that would make a tag name other repos than before.

Whoever restores the tag would find another model under its name, or lack a repo that it loads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cas import events
from cas.errors import InputError
from cas.formats.manifest import Manifest
from cas.hub.source import Source
from cas.refs.reference import version_to_build_on
from cas.refs.reflog import Ref
from cas.store.store import Store


def check_repos(
    source: Source,
    tags: Sequence[Ref],
    parent: Manifest | None,
    store: Store,
    listen: events.Listener,
    *,
    replace: bool,
) -> None:
    """Compare the repos of a source with those of the version that each tag names.

    Args:
        source: what is published.
        tags: the tags to move.
        parent: the version that the first tag names; None when it names none, or the store has lost it.
        store: where the versions of the other tags are.
        listen: with `replace`, hears a warning for each tag that will name other repos.
        replace: whether that is wanted.

    Raises:
        InputError: the repos differ, and that is not wanted.
    """
    folder = (source.folder[1],) if source.folder else ()
    new = _names((repo.repo_type, repo.repo_id) for repo in (*source.repos, *folder))
    for tag in tags:
        # Whatever cannot be read of the others is told when they are moved.
        version = parent if tag == tags[0] else version_to_build_on(store, tag, events.ignore)[1]
        if version is None:
            continue
        old = _names((repo.repo_type, repo.repo_id) for repo in version.repos)
        if old == new:
            continue
        if not replace:
            raise InputError(
                f"{tag} holds {_listed(old)}, and this would put {_listed(new)} in its place: choose another model or "
                "--tag for it, or add --replace if that is meant"
            )
        listen(events.Warned(f"{tag} held {_listed(old)}; it is replaced by {_listed(new)}"))


def _names(repos: Iterable[tuple[str, str]]) -> list[str]:
    return sorted({repo_id if repo_type == "model" else f"{repo_type}s/{repo_id}" for repo_type, repo_id in repos})


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "files of no repo"
