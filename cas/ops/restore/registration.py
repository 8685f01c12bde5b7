"""What a restore leaves for `cas prune`: the version in the register, and a record of each file and link that it makes.

A restore is right without either, so a cache that cannot be written to here costs a note, and no restore: what is not
entered is never pruned.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from cas import events
from cas.errors import CacheError
from cas.local.hf_cache import RepoCache
from cas.local.made_files import Components, MadeFiles
from cas.local.register import Register
from cas.local.register_entry import Entry


class Registration:
    """Enters the versions of one restore, and the paths that it makes."""

    def __init__(self, hub: Path, entries: Sequence[Entry], listen: events.Listener) -> None:
        self._entries = entries
        self._register, self._listen = Register(hub), listen
        self._claimed: dict[Path, list[Components]] = {}

    def enter(self, *, used: bool = False) -> None:
        """Enter the versions.

        Args:
            used: say, too, that they are used now.
        """
        for entry in self._entries:
            try:
                self._register.add(entry)
                if used:
                    self._register.touch(entry.reference)
            except (CacheError, FileNotFoundError) as error:
                self._listen(events.Noted(f"`cas prune` will not know of {entry.short}: {error}"))

    def claim(self, paths: Iterable[tuple[Path, Components]]) -> None:
        """Record that paths are about to be made.

        Args:
            paths: each as the root of its record, and components below that.
        """
        by_root: dict[Path, list[Components]] = {}
        for root, components in paths:
            by_root.setdefault(root, []).append(components)
        for root, made in by_root.items():
            try:
                MadeFiles(root).claim([*self._claimed.get(root, ()), *made])
            except CacheError as error:
                self._listen(events.Noted(f"`cas prune` will not know what was made in {root}: {error}"))
            else:
                self._claimed.setdefault(root, []).extend(made)

    def settle(self) -> None:
        """Record the times of the paths that were claimed, now that they have been made."""
        for root, made in self._claimed.items():
            try:
                MadeFiles(root).settle(made)
            except CacheError as error:
                self._listen(events.Noted(f"the record of what was made in {root} is not complete: {error}"))
        self._claimed.clear()

    def describe_move(self, cache: RepoCache, ref: str, before: str, commit: str) -> str:
        """Say that a ref moves off another version that restores put here; empty if it does not.

        Args:
            cache: the repo.
            ref: such as `main`.
            before: the commit that the ref names.
            commit: the commit of a version of this restore, which it will name.
        """
        ours = {entry.reference for entry in self._entries}
        others = (entry for entry, _ in reversed(self._register.entries()) if entry.reference not in ours)
        old, new = _of_commit(others, cache, before), _of_commit(self._entries, cache, commit)
        if old is None or new is None:
            return ""
        return (
            f"{cache.repo_id}: {ref} moved from {old.short} to {new.short}: programs that load {ref} from {cache.hub} "
            "get that now; those under `cas run` keep their version"
        )


def _of_commit(entries: Iterable[Entry], cache: RepoCache, commit: str) -> Entry | None:
    """Return the first entry that has a commit of a repo."""
    wanted = (cache.repo_type, cache.repo_id, commit)
    for entry in entries:
        if any((repo.repo_type, repo.repo_id, repo.commit) == wanted for repo in entry.repos):
            return entry
    return None
