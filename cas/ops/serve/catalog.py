"""The catalog of a server: which repos the store's tags and pins name, and which version each of them comes from."""

from __future__ import annotations

import datetime
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cas import events
from cas.errors import CasError, NotFoundError
from cas.formats.manifest import Repo
from cas.ops.serve.chosen_refs import ChosenRefs, NamedVersion, RefusedRef, RepoKey
from cas.parallel import BackgroundCall
from cas.store.layout import VersionId
from cas.store.store import Store

MAIN = "main"
"""The revision that hub clients ask for when their user names none."""

_AGE = 3.0  # seconds after which the refs are read again, when somebody asks
_WAIT = 2.0  # seconds that a request waits for the refs; it is answered from what is known then
_PAST = 64  # versions that a ref named earlier and whose commits still answer
_COMMIT = re.compile(r"[0-9a-f]{40}")


class RepoMissing(NotFoundError):
    """No version that the server chooses from holds the repo."""


class RevisionMissing(NotFoundError):
    """The repo is held, but not at that revision."""


class Hosted(NamedTuple):
    """A repo, and the version of a model that it is served from.

    Attributes:
        repo: the repo at one commit, with its files.
        version: the version that holds it.
        reference: the tag or pin that names the version, as `f5-tts:prod` or `pin:eu-prod/f5-tts`.
        since: when the ref's last entry was made, by the server's clock.
    """

    repo: Repo
    version: VersionId
    reference: str
    since: datetime.datetime


@dataclass(frozen=True, slots=True)
class Chosen(events.Event):
    """A repo is served from this version from now on: at the start, and whenever a ref moves.

    Attributes:
        hosted: the repo and the version.
    """

    hosted: Hosted

    @property
    def text(self) -> str:
        """Return the choice in words."""
        repo, version, reference, _ = self.hosted
        kind = "" if repo.repo_type == "model" else f"{repo.repo_type} "
        return f"{kind}{repo.repo_id} is that of {reference} ({version.digest[:12]}), commit {repo.commit[:12]}"


class Catalog:
    """The repos of the versions that tags and pins name. Its methods block: call them in threads, at once if need be.

    Refs are read again when somebody asks and what is known is older than 3 seconds. While the store is away, what is
    known stays. A version that a ref named earlier still answers for its commits, so that a client that began to
    download before a tag moved can go on.

    Where several versions hold a repo, `main` means that of the tag or pin that was named first; where none was named,
    that of a tag `latest`, then of another tag, then of a pin. Among equals a version that was made from the hub's own
    main comes first, then the ref that moved last. What a server published from an upstream hub comes after all that a
    person chose.

    A ref that is refused, as no trusted key signed it or what they signed is gone, is not passed over: its repos are
    withheld, unless a ref that is preferred to it or as good holds them, or one of another model.
    """

    def __init__(
        self,
        store: Store,
        tags: Sequence[str] = (),
        pins: Sequence[str] = (),
        *,
        with_pulled: bool = False,
        on_event: events.Listener = events.ignore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make no request yet.

        Args:
            store: where the versions are.
            tags: choose the versions that these tags name, as `prod` (of any model) or `f5-tts:prod`.
            pins: choose the versions that these deployments pin, as `eu-prod` or `eu-prod/f5-tts`. Without tags and
                pins, all that any ref names is served.
            with_pulled: serve what a server published from an upstream hub, too, whatever tags and pins are chosen.
            on_event: hears `Chosen` for each repo, and of versions that cannot be read.
            clock: the time in seconds.
        """
        self._store, self._listen, self._clock = store, on_event, clock
        self._refs = ChosenRefs(store, tags, pins, with_pulled=with_pulled, warn=self._warn)
        self._guard = threading.Lock()
        self._one_reads = threading.Lock()
        self._known: tuple[Hosted, ...] | None = None
        self._past: tuple[Hosted, ...] = ()
        self._read_at = self._begun = 0.0
        self._reading: BackgroundCall[None] | None = None
        self._withheld: Mapping[RepoKey, RefusedRef] = {}  # the repos that refused refs stand for
        self._warned: set[str] = set()

    def find(self, repo_type: str, repo_id: str, revision: str | None = None) -> Hosted:
        """Return the repo that a client asks for, at a revision.

        Args:
            repo_type: `model`, `dataset` or `space`.
            repo_id: such as `org/model`.
            revision: None or `main` for the chosen version; another ref of the repo, or a commit (40 hex), of any
                version; or a tag of the store that names a version with this repo.

        Raises:
            RepoMissing: no version holds the repo.
            RevisionMissing: one does, at other revisions.
            SignatureError: the tag or pin that should say what the revision is, is refused.
            IntegrityError: likewise, as the version that trusted keys signed there cannot be had.
            CasError: nothing is known yet, and the store cannot be read.
        """
        hosted, key = self._hosted(), RepoKey(repo_type, repo_id)
        mine = [each for each in hosted if _key(each) == key]
        if not mine and not self._refused(key, revision):
            raise RepoMissing(f"no version that is served from {self._store.url} holds the {repo_type} {repo_id!a}")
        for each in self._matching(mine, revision or MAIN, key):
            return each
        if refused := self._refused(key, revision):
            raise refused.error(refused.why)
        raise RevisionMissing(f"the {repo_type} {repo_id!a} is held, but not at revision {revision!a}")

    def repos(self) -> list[Hosted]:
        """Return every repo that is served, each at its `main`, by type and id."""
        first = _first(self._hosted())
        return [first[key] for key in sorted(first) if key not in self._withheld]

    def annotations(self, version: VersionId) -> Mapping[str, str]:
        """Return those of a version's manifest, which is read (CasError) only if it is not known."""
        return (self._refs.manifests.get(version) or self._store.get_manifest(*version)).annotations

    def refresh(self) -> None:
        """Read the refs now, whatever their age, as after a publish.

        Raises:
            CasError: the store cannot be read.
            NotFoundError: nothing is tagged or pinned as chosen.
        """
        self._read()

    def _matching(self, mine: Sequence[Hosted], revision: str, key: RepoKey) -> Iterator[Hosted]:
        is_refused = key in self._withheld
        if revision == MAIN and not is_refused:
            yield mine[0]
        if _COMMIT.fullmatch(revision):
            yield from (each for each in (*mine, *self._past) if _key(each) == key and each.repo.commit == revision)
        if not is_refused:
            yield from (each for each in mine if revision in each.repo.refs)
        if not is_refused or revision != MAIN:
            yield from (each for each in mine if each.reference == f"{each.version.model}:{revision}")

    def _refused(self, key: RepoKey, revision: str | None) -> RefusedRef | None:
        """The ref for which nothing may tell what a revision of a repo is; None for a commit, which tells it itself."""
        return None if revision and _COMMIT.fullmatch(revision) else self._withheld.get(key)

    def _hosted(self) -> tuple[Hosted, ...]:
        with self._guard:
            known = self._known
            if self._reading is None and (known is None or self._clock() - self._read_at >= _AGE):
                self._begun = self._clock()
                self._reading = BackgroundCall(self._read_again)
            reading, left = self._reading, self._begun + _WAIT - self._clock()
        if reading is None:
            assert known is not None
            return known
        if known is None:
            reading.result()
        else:
            reading.ends_within(max(0.0, left))  # while the store is away, the first requests wait, and no others
        with self._guard:
            assert self._known is not None
            return self._known

    def _read_again(self) -> None:
        try:
            self._read()
        except CasError as error:
            if self._known is None:
                raise
            self._warn(f"what was known of the refs is served on: {error}")
        finally:
            with self._guard:
                self._reading, self._read_at = None, self._clock()

    def _read(self) -> None:
        with self._one_reads:
            self._read_all()

    def _read_all(self) -> None:
        self._store.check_format()
        refs, refused = self._refs.read()
        manifests = self._refs.manifests
        found = [
            (each.rank, MAIN not in repo.refs, Hosted(repo, each.version, str(each.ref), each.since))
            for each in sorted(refs, key=lambda ref: (ref.rank, -ref.since.timestamp(), str(ref.ref)))
            for repo in manifests[each.version].repos
        ]
        hosted = [each for *_, each in sorted(found, key=lambda row: row[:2])]
        with self._guard:
            before, self._known = self._known, tuple(hosted)
            self._withheld = _withheld(hosted, refs, refused)
            versions = {each.version for each in hosted}
            past = {(each.version, each.repo.repo_id): each for each in (*self._past, *(before or ()))}
            self._past = tuple(each for each in past.values() if each.version not in versions)[-_PAST:]
            retained = versions | {each.version for each in self._past}
            self._refs.manifests = {version: found for version, found in manifests.items() if version in retained}
        self._tell(before or (), hosted)

    def _tell(self, before: Sequence[Hosted], now: Sequence[Hosted]) -> None:
        old = _first(before)
        for key, each in _first(now).items():
            if key not in self._withheld and (key not in old or old[key].version != each.version):
                self._listen(Chosen(each))

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self._listen(events.Warned(text))


def _withheld(
    hosted: Sequence[Hosted], refs: Iterable[NamedVersion], refused: Iterable[RefusedRef]
) -> dict[RepoKey, RefusedRef]:
    """The repos that refused refs stand for, each with the first of these refs.

    Left out are those that a ref which is preferred to the refused one, or as good, holds; and those that a ref of
    another model holds, as all that is known of the refused one is which model it is of.
    """
    first, ranks = _first(hosted), {str(each.ref): each.rank for each in refs}
    found: dict[RepoKey, RefusedRef] = {}
    for one in sorted(refused, key=lambda one: (one.rank, one.ref)):
        same_model = {key for key, each in first.items() if each.version.model == one.ref.model}
        for key in same_model | (one.repos - first.keys()):
            if key not in first or ranks[first[key].reference] > one.rank:
                found.setdefault(key, one)
    return found


def _first(hosted: Iterable[Hosted]) -> dict[RepoKey, Hosted]:
    """Return each repo as it is at `main`: that of the first version that holds it."""
    first: dict[RepoKey, Hosted] = {}
    for each in hosted:
        first.setdefault(_key(each), each)
    return first


def _key(hosted: Hosted) -> RepoKey:
    return RepoKey(hosted.repo.repo_type, hosted.repo.repo_id)
