"""The tags and pins that a server chooses from: which version each names now, and which are refused.

A ref is refused where keys are trusted and none of them signed its last entry, or the manifest of the version that they
signed is gone or damaged: whoever can delete it must not choose what is served. What it held must then come from
nowhere else: not from the next of its model's tags, and not from an upstream hub, of which nobody said that it will do.
So a refused ref tells the repos that it stands for: those of the version that it named before, and of what it claims
now.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from cas.errors import CasError, FormatError, IntegrityError, NotFoundError, SignatureError
from cas.formats.manifest import Manifest
from cas.ops.serve.pulled_version import TAG as PULLED_TAG
from cas.parallel import for_each
from cas.refs import reflog
from cas.refs.reference import DEFAULT_TAG, log_of, parse_reference
from cas.refs.reflog import KEPT, Ref, RefLog
from cas.store import layout
from cas.store.layout import VersionId
from cas.store.store import Store

_REQUESTS = 16


class RepoKey(NamedTuple):
    """What clients name a repo by.

    Attributes:
        repo_type: `model`, `dataset` or `space`.
        repo_id: such as `org/model`.
    """

    repo_type: str
    repo_id: str


class NamedVersion(NamedTuple):
    """A ref, and the version that it names.

    Attributes:
        rank: the place of the ref among those that were chosen; 0 is preferred to 1.
        since: when the ref's last entry was made, by the server's clock.
        ref: the tag or pin.
        version: that it names.
    """

    rank: int
    since: datetime.datetime
    ref: Ref
    version: VersionId


class RefusedRef(NamedTuple):
    """A ref whose last entry no trusted key signed, or whose signed version cannot be had.

    Attributes:
        rank: as that of a NamedVersion.
        ref: the tag or pin.
        repos: that it stands for, as far as its log tells.
        why: it is refused.
        error: the kind of error that says so.
    """

    rank: int
    ref: Ref
    repos: frozenset[RepoKey]
    why: str
    error: type[CasError] = SignatureError


class ChosenRefs:
    """Reads the chosen refs and the manifests of their versions, which it keeps.

    Attributes:
        manifests: of the versions, as far as they were read.
    """

    def __init__(
        self,
        store: Store,
        tags: Sequence[str],
        pins: Sequence[str],
        *,
        with_pulled: bool,
        warn: Callable[[str], None],
    ) -> None:
        """Make no request yet. Arguments as for `Catalog`; warn: is told of refs that cannot be read."""
        self._store, self._warn, self._with_pulled = store, warn, with_pulled
        self._tags, self._pins = tuple(tags), tuple(pin.removeprefix("pin:") for pin in pins)
        self._entries: dict[Ref, tuple[str, str | None]] = {}  # name of the last entry, and the digest that it names
        self._stood_for: dict[Ref, frozenset[RepoKey]] = {}  # the repos of what a ref named when it was last verified
        self._claims: dict[Ref, tuple[str, frozenset[RepoKey]]] = {}  # of refused refs: of the entry of that name
        self.manifests: dict[VersionId, Manifest] = {}

    def read(self) -> tuple[list[NamedVersion], list[RefusedRef]]:
        """Return what the chosen refs name now, and the refused ones.

        Raises:
            NotFoundError: nothing is tagged or pinned as chosen.
            CasError: the store cannot be read.
        """
        found: list[NamedVersion] = []
        refused: list[RefusedRef] = []
        wanted = [log for log in reflog.logs(self._store) if self._rank(log.ref) is not None]
        if wanted:
            read = lambda log: self._read_ref(log, found, refused)  # noqa: E731
            for_each(read, wanted, threads=min(_REQUESTS, len(wanted)))
        refused += self._gone({log.ref for log in wanted})
        if not found and not refused and (self._tags or self._pins):
            named_ = ", ".join([*(f"tag {tag}" for tag in self._tags), *(f"pin {pin}" for pin in self._pins)])
            raise NotFoundError(f"{self._store.url} has no {named_}: see `cas ls` and `cas pins`")
        return found, refused

    def _gone(self, listed: Collection[Ref]) -> Iterator[RefusedRef]:
        """Refuse the chosen refs without a log that a server has seen, or that have a floor: it was deleted.

        No collector deletes a whole log: also what was removed keeps its last entry.
        """
        trust = self._store.trust
        if trust is None:
            return
        reasons = {ref: f"it was at {_number(name)} while this server ran" for ref, (name, _) in self._entries.items()}
        for text, floor in trust.floors.items():
            reasons.setdefault(log_of(self._store, parse_reference(text)).ref, f"its floor is {floor}")
        for ref, why in reasons.items():
            if ref not in listed and (rank := self._rank(ref)) is not None:
                text = f"{ref} has no entries in {self._store.url}, and {why}: its log was deleted"
                self._warn(f"{ref} is not served: {text}")
                yield RefusedRef(rank, ref, self._stood_for.get(ref, frozenset()), text)

    def _read_ref(self, log: RefLog, found: list[NamedVersion], refused: list[RefusedRef]) -> None:
        rank, last = self._rank(log.ref), log.listed()[-1]
        assert rank is not None, "only chosen refs are read"
        try:
            digest = self._digest(log, reflog.entry_name(last))
            if digest is None:
                return  # removed
            version = VersionId(log.ref.model, digest)
            manifest = self._manifest(version)
        except SignatureError as error:
            self._warn(f"{log.ref} is not served: {error}")
            refused.append(RefusedRef(rank, log.ref, self._repos_of(log), str(error)))
            return
        except (NotFoundError, IntegrityError, FormatError) as error:
            self._warn(f"{log.ref} is not served: {error}")
            if self._store.trust is not None:
                refused.append(RefusedRef(rank, log.ref, self._repos_of(log), str(error), IntegrityError))
            return
        self._stood_for[log.ref] = _repos(manifest)
        found.append(NamedVersion(rank, last.modified, log.ref, version))

    def _digest(self, log: RefLog, last: str) -> str | None:
        """The version that a ref names; its last entry is read only if it is another than before.

        Raises:
            SignatureError: the last entry is not signed as it must be, or its number is lower than one seen here.
        """
        name, digest = self._entries.get(log.ref, ("", None))
        if name == last:
            return digest
        if self._store.trust is not None and name and _number(last) < _number(name):
            raise SignatureError(
                f"{log.ref} in {self._store.url} is at entry {_number(last)}, and was at {_number(name)} while this "
                "server ran: its log was cut or begun anew; restart the server if that was meant"
            )
        digest = log.current_digest()
        self._entries[log.ref] = last, digest
        return digest

    def _manifest(self, version: VersionId) -> Manifest:
        if version not in self.manifests:
            self.manifests[version] = self._store.get_manifest(*version)
        return self.manifests[version]

    def _repos_of(self, log: RefLog) -> frozenset[RepoKey]:
        """The repos that a refused ref stands for: of what it named when it was verified, and of what it claims now."""
        stood_for = self._stood_for.get(log.ref)
        if stood_for is None:
            stood_for = self._stood_for[log.ref] = self._first_of(log, self._earlier(log))
        name, claimed = log.names()[-1], self._claims.get(log.ref)
        if claimed is None or claimed[0] != name:
            claimed = self._claims[log.ref] = name, self._first_of(log, self._claimed(log, name))
        return stood_for | claimed[1]

    def _first_of(self, log: RefLog, digests: Iterator[str]) -> frozenset[RepoKey]:
        """The repos of the first of some versions (64 hex) whose manifest can be read."""
        for digest in digests:
            with contextlib.suppress(CasError):
                return _repos(self._store.get_manifest(log.ref.model, digest))
        return frozenset()

    def _claimed(self, log: RefLog, name: str) -> Iterator[str]:
        with contextlib.suppress(CasError):
            if digest := log.claimed(name).digest:
                yield digest

    def _earlier(self, log: RefLog) -> Iterator[str]:
        """The versions (64 hex) of the log's last entries that can be verified, the newest first."""
        for name in reversed(log.names()[-KEPT:]):
            with contextlib.suppress(CasError):
                if digest := log.read(name).digest:
                    yield digest

    def _rank(self, ref: Ref) -> int | None:
        """Return the place of a ref among those that were chosen, the first one 0; None where it was not chosen."""
        named_ = (
            (ref.second, f"{ref.first}:{ref.second}")
            if ref.kind == "tags"
            else (ref.first, f"{ref.first}/{ref.second}")
        )
        if not self._tags and not self._pins:
            if ref.kind == "pins":
                return 2
            return 3 if ref.second == PULLED_TAG else int(ref.second != DEFAULT_TAG)
        if ref.kind == "tags" and ref.second == PULLED_TAG and self._with_pulled:
            return len(self._tags) + len(self._pins)
        chosen, before = (self._tags, 0) if ref.kind == "tags" else (self._pins, len(self._tags))
        return next((before + at for at, name in enumerate(chosen) if name in named_), None)


def _repos(manifest: Manifest) -> frozenset[RepoKey]:
    return frozenset(RepoKey(repo.repo_type, repo.repo_id) for repo in manifest.repos)


def _number(name: str) -> int:
    return layout.ref_entry_order(name)[0]
