"""A store as Python sees it: what it holds and what names it are its methods."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cas import events
from cas.bucket import RetryPolicy, open_bucket
from cas.store import store as stores
from cas.store.choice import store_url

if TYPE_CHECKING:
    from cas.api.look import VersionDetails
    from cas.api.names import Moved
    from cas.ops.audit.result import Audit
    from cas.ops.doctor.examiner import Diagnosis
    from cas.ops.doctor.findings import Finding
    from cas.ops.doctor.roles import Role
    from cas.ops.fsck.checker import Checked
    from cas.ops.fsck.shard import Shard
    from cas.ops.gc.explain import Explained
    from cas.ops.gc.result import Collected
    from cas.ops.inspect.comparison import Comparison
    from cas.ops.inspect.tree import TreeLine
    from cas.ops.inspect.usage import Usage
    from cas.ops.inspect.versions import ListedVersion
    from cas.refs.history import RolledBack
    from cas.refs.lock_file import Locked
    from cas.refs.past_moves import PastMove
    from cas.refs.pins import Pin
    from cas.refs.reference import Resolved
    from cas.refs.sign import SignedEntry


def _ignore(finding: Finding) -> None:
    pass


class Store(stores.Store):
    """A store: its versions, what names them, and its care. `open_store` makes one.

    What brings bytes to it or away from it are functions that take it: `cas.publish`, `cas.restore`, `cas.copy`, ….
    """

    def versions(self, model: str | None = None) -> list[ListedVersion]:
        """Return the versions of a model, or what tags and pins of all models name: see `cas.versions`."""
        from cas.api.look import versions

        return versions(model, self)

    def tags(self, model: str) -> dict[str, str]:
        """Return what each tag of a model names now: see `cas.tags`."""
        from cas.api.look import tags

        return tags(model, self)

    def pins(self, deployment: str | None = None) -> list[Pin]:
        """Return the pins of a deployment, or of all: see `cas.pins`."""
        from cas.api.look import pins

        return pins(deployment, self)

    def history(self, reference: str) -> list[PastMove]:
        """Return every move of a tag or pin, oldest first: see `cas.history`."""
        from cas.api.look import history

        return history(reference, self)

    def tree(self, model: str | None = None) -> dict[str, list[TreeLine]]:
        """Return every version below the one that it came from, by model: see `cas.tree`."""
        from cas.api.look import tree

        return tree(model, self)

    def resolve(self, reference: str) -> Resolved:
        """Return the version that a reference names now: see `cas.resolve`."""
        from cas.api.look import resolve

        return resolve(reference, self)

    def show(self, reference: str) -> VersionDetails:
        """Return a version in every detail: see `cas.show`."""
        from cas.api.look import show

        return show(reference, self)

    def diff(self, a: str, b: str, *, on_event: events.Listener = events.log) -> Comparison:
        """Compare two versions: see `cas.diff`."""
        from cas.ops.inspect.comparison import compare

        return compare(a, b, self, on_event=on_event)

    def du(self, model: str | None = None, *, on_event: events.Listener = events.log) -> Usage:
        """Return what each version takes up: see `cas.du`."""
        from cas.api.look import du

        return du(model, self, on_event=on_event)

    def tag(
        self,
        reference: str,
        tags: str | Sequence[str],
        *,
        by: str | None = None,
        reason: str = "tag",
        expect: str | None = None,
        on_event: events.Listener = events.log,
    ) -> Moved:
        """Point tags at a version: see `cas.tag`."""
        from cas.api.names import tag

        return tag(reference, tags, self, by=by, reason=reason, expect=expect, on_event=on_event)

    def untag(
        self,
        tags: str | Sequence[str],
        *,
        by: str | None = None,
        reason: str = "untag",
        on_event: events.Listener = events.log,
    ) -> Moved:
        """Remove tags: see `cas.untag`."""
        from cas.api.names import untag

        return untag(tags, self, by=by, reason=reason, on_event=on_event)

    def pin(
        self,
        deployment: str,
        reference: str,
        *,
        by: str | None = None,
        reason: str = "pin",
        expect: str | None = None,
        on_event: events.Listener = events.log,
    ) -> Moved:
        """Pin a version for a deployment: see `cas.pin`."""
        from cas.api.names import pin

        return pin(deployment, reference, self, by=by, reason=reason, expect=expect, on_event=on_event)

    def unpin(
        self,
        deployment: str,
        model: str | None = None,
        *,
        by: str | None = None,
        reason: str = "unpin",
        on_event: events.Listener = events.log,
    ) -> Moved:
        """Remove a deployment's pin: see `cas.unpin`."""
        from cas.api.names import unpin

        return unpin(deployment, model, self, by=by, reason=reason, on_event=on_event)

    def rollback(
        self,
        reference: str,
        *,
        to: str | None = None,
        by: str | None = None,
        reason: str | None = None,
        on_event: events.Listener = events.log,
    ) -> RolledBack:
        """Move a tag or pin back to what it named before: see `cas.rollback`."""
        from cas.api.names import rollback

        return rollback(reference, self, to=to, by=by, reason=reason, on_event=on_event)

    def sign(
        self,
        references: str | Sequence[str] = (),
        *,
        tags: Sequence[str] = (),
        everything: bool = False,
        rotate: bool = False,
        by: str | None = None,
        expect: str | None = None,
        dry_run: bool = False,
        on_event: events.Listener = events.log,
    ) -> list[SignedEntry]:
        """Sign what tags and pins name now: see `cas.sign`."""
        from cas.api.signatures import sign

        return sign(
            references,
            self,
            tags=tags,
            everything=everything,
            rotate=rotate,
            by=by,
            expect=expect,
            dry_run=dry_run,
            on_event=on_event,
        )

    def lock(self, reference: str, path: str | Path) -> Locked:
        """Write a version's manifest to a file to restore by: see `cas.lock`."""
        from cas.api.care import lock

        return lock(reference, path, self)

    def fsck(
        self,
        scope: str | None = None,
        *,
        sample: float = 1.0,
        state: str | Path | None = None,
        repair_from: Iterable[str] = (),
        shard: Shard | None = None,
        on_event: events.Listener = events.log,
    ) -> Checked:
        """Hash what the store holds, and repair it: see `cas.fsck`."""
        from cas.ops.fsck.checker import fsck

        return fsck(scope, self, sample=sample, state=state, repair_from=repair_from, shard=shard, on_event=on_event)

    def gc(
        self,
        *,
        grace: datetime.timedelta = datetime.timedelta(hours=24),
        keep: int = 20,
        dry_run: bool = False,
        wait: float = 60.0,
        on_event: events.Listener = events.log,
    ) -> Collected:
        """Free what nothing needs, in two runs: see `cas.gc`."""
        from cas.ops.gc.collector import gc

        return gc(self, grace=grace, keep=keep, dry_run=dry_run, wait=wait, on_event=on_event)

    def explain(
        self, digest: str, *, grace: datetime.timedelta = datetime.timedelta(hours=24), keep: int = 20
    ) -> Explained:
        """Say what keeps a chunk or a version: see `cas.explain`."""
        from cas.api.care import explain

        return explain(digest, self, grace=grace, keep=keep)

    def doctor(
        self, *, role: Role | None = None, cache_dir: str | None = None, on_finding: Callable[[Finding], None] = _ignore
    ) -> Diagnosis:
        """Check the store, the key to it and this machine: see `cas.doctor`."""
        from cas.api.care import doctor

        return doctor(self, role=role, cache_dir=cache_dir, on_finding=on_finding)

    def audit(
        self,
        reference: str | None = None,
        *,
        since: datetime.timedelta = datetime.timedelta(days=30),
        on_event: events.Listener = events.log,
    ) -> Audit:
        """Say who released what, and what is wrong with it: see `cas.audit`."""
        from cas.ops.audit.auditor import audit

        return audit(reference, self, since=since, on_event=on_event)


def open_store(
    store: stores.Store | str | Path | None = None,
    *,
    policy: RetryPolicy | None = None,
    sign_with: str | Path | None = None,
) -> Store:
    """Return the store that a caller means, without any request to a server.

    Args:
        store: a URL; the path of a folder or of an archive; None for the default (CAS_STORE, then what
            docs/operations.md names after it); or a store that is open already.
        policy: when requests are given up and how often they are tried again.
        sign_with: the file of the secret key that signs what tags and pins name; by default what CAS_SIGNING_KEY names.

    Raises:
        InputError: the URL has an unknown scheme, or there is no such key.
        AccessDenied: credentials are missing.
        CasError: what `Store.configure_signing` raises.
    """
    if isinstance(store, Store):
        opened = store
    elif isinstance(store, stores.Store):
        opened = Store(store.bucket)
        opened.sign_as(store)
    else:
        opened = Store(open_bucket(store_url(None if store is None else str(store)), policy))
        opened.configure_signing()
    if sign_with is not None:
        from cas.local.trusted_keys import read_signer

        opened.signer = read_signer(str(sign_with), "sign_with")
    return opened
