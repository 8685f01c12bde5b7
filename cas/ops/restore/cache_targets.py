"""What a restore writes into a Hugging Face cache, of one version or of several at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from cas import events
from cas.config import CacheDirs
from cas.errors import InputError
from cas.formats.manifest import Manifest, Repo
from cas.local.register_entry import entry_of
from cas.local.targets import Target, targets_of
from cas.local.verified import Stamps
from cas.ops.restore.link import make_visible
from cas.ops.restore.plain_files import PlainFileGuard, check_home
from cas.ops.restore.plan import Plan
from cas.ops.restore.registration import Registration
from cas.refs.reference import Resolved


class CacheTargets:
    """The targets of versions in a cache, and how they become visible there.

    Attributes:
        directory: the cache, as messages name it.
        targets: each distinct content of all versions once.
        guard: keeps plain files from replacing what no restore wrote.
    """

    def __init__(self, versions: Sequence[Resolved], dirs: CacheDirs, listen: events.Listener) -> None:
        """Find out what goes where; nothing is read.

        Args:
            versions: what is restored of each. Where two of them give a ref of a repo different commits, the last one
                counts, as if they were restored one after the other.
            dirs: the cache.
            listen: hears a warning for each such ref.

        Raises:
            InputError: two versions have different bytes for one file.
        """
        manifests = [version.manifest for version in versions]
        self._dirs, self._has_plain_files = dirs, any(manifest.files for manifest in manifests)
        self._repos = _with_last_refs(manifests, listen) if len(manifests) > 1 else manifests[0].repos
        self.directory = dirs.hub
        self.targets = _merged([target for manifest in manifests for target in targets_of(manifest, dirs)])
        self.guard = PlainFileGuard()
        entries = [entry_of(version.exact, version.manifest, dirs) for version in versions]
        self._registration = Registration(dirs.hub, entries, listen)

    def check(self) -> None:
        """Refuse a directory that must not get the version's plain files; raises CacheError."""
        if self._has_plain_files:
            check_home(self._dirs)

    def claim(self, plan: Plan) -> None:
        """Record the versions, and what is going to be made of them; raises CacheError."""
        self._registration.enter()
        self._registration.claim(
            (pending.target.root, path)
            for pending in plan.pending_files
            for path in (pending.target.components, *pending.target.snapshot_paths)
        )
        self.guard.claim(plan)

    def settle(self) -> None:
        """Record what has been made of what was claimed, when the restore fails."""
        self._registration.settle()

    def wants_lock(self, plan: Plan) -> bool:
        """Return whether this restore needs the locks although no file is missing."""
        return False

    def make_visible(self, complete: Mapping[Target, Stamps], listen: events.Listener) -> None:
        """Link the complete files; see `cas.ops.restore.link.make_visible`."""
        make_visible(self._repos, self.directory, complete, self._registration, listen)


def _merged(targets: Sequence[Target]) -> tuple[Target, ...]:
    """Return each file of the targets once, with the snapshot paths of all.

    Raises:
        InputError: a file would have to hold two contents, or the same bytes cut in two ways.
    """
    merged: dict[tuple[object, ...], Target] = {}
    for target in targets:
        key = (target.root, target.components)
        before = merged.setdefault(key, target)
        if before is target:
            continue
        if before.content != target.content:
            raise InputError(
                f"the versions have different bytes, or differently cut ones, for {target.path}: restore them one "
                "after the other"
            )
        merged[key] = replace(
            before, snapshot_paths=tuple(dict.fromkeys((*before.snapshot_paths, *target.snapshot_paths)))
        )
    return tuple(merged.values())


def _with_last_refs(manifests: Sequence[Manifest], listen: events.Listener) -> tuple[Repo, ...]:
    """Return the repos of all versions, each ref only where the last version that has it puts it."""
    last: dict[tuple[str, str, str], str] = {}
    for repo in (repo for manifest in manifests for repo in manifest.repos):
        for ref in repo.refs:
            key = (repo.repo_type, repo.repo_id, ref)
            if last.get(key, repo.commit) != repo.commit:
                listen(
                    events.Warned(
                        f"{repo.repo_id}: {ref} will name {repo.commit[:12]}, of the version that was named last, and "
                        f"not {last[key][:12]}"
                    )
                )
            last[key] = repo.commit
    return tuple(
        msgspec.structs.replace(
            repo, refs=tuple(ref for ref in repo.refs if last[repo.repo_type, repo.repo_id, ref] == repo.commit)
        )
        for manifest in manifests
        for repo in manifest.repos
    )
