"""Where a repo's files come from: the store's versions, and the upstream hub for what the store lacks."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import msgspec

from cas.errors import AccessDenied, CasError, NotFoundError, StoreError
from cas.formats.digest import Buffer, named
from cas.formats.manifest import REPO_PATTERN, RepoFile, timestamp
from cas.hub.upstream import UpstreamRepo
from cas.hub.upstream_answers import UpstreamRevisionMissing
from cas.local.hf_cache import is_commit
from cas.ops.serve import pulled_version
from cas.ops.serve.access import Caller
from cas.ops.serve.answers import RETRY_SECONDS, Refusal, no_repo, no_revision
from cas.ops.serve.catalog import Catalog, Hosted, RevisionMissing
from cas.ops.serve.content import Content
from cas.ops.serve.listing import Listing, is_absent
from cas.ops.serve.pull_through import PullThrough

STORE, UPSTREAM = "store", "upstream"
"""Where a file's bytes are when a request for them comes, as metrics name it."""

MAIN = "main"

_LISTINGS = 256  # indexed repos that are kept, so that a request for one file of a large repo need not index it
_REPO = re.compile(REPO_PATTERN.strip("^$"))


class Hosting:
    """Finds repos and reads their files.

    Args:
        catalog: the store's repos.
        content: the bytes of their files.

    Attributes:
        pulls: what comes from the upstream hub; None without one.
    """

    def __init__(self, catalog: Catalog, content: Content) -> None:
        self._catalog, self._content = catalog, content
        self._listings: OrderedDict[tuple[str, str, str, str], Listing] = OrderedDict()
        self.pulls: PullThrough | None = None

    async def find(self, repo_type: str, repo_id: str, revision: str, caller: Caller) -> Listing:
        """Return the files of a repo at a revision.

        What a person published is the answer, whatever the upstream hub has. What a server published from there is the
        answer for the commit that it holds; what a branch means, the hub is asked while it can be reached.

        Args:
            repo_type: model, dataset or space.
            repo_id: as the client writes it.
            revision: a branch, a tag or a commit.
            caller: who asks.

        Raises:
            Refusal: nothing here has the repo or the revision, or the caller may not see it.
            CasError: the store cannot be read.
        """
        if not _REPO.fullmatch(repo_id) or ".." in repo_id:
            raise no_repo(repo_id)
        if revision in (".", ".."):  # in a URL these would mean another request to the hub
            raise no_revision(repo_id, revision)
        refusal, held = no_repo(repo_id), None
        try:
            held = await self._held(repo_type, repo_id, revision)
        except RevisionMissing:
            refusal = no_revision(repo_id, revision)
            if (other := await self._held(repo_type, repo_id, MAIN)).access == "private":
                await self._admit(other, caller)  # whether there is such a repo is a secret, too
        except NotFoundError:
            pass
        if held is None or (held.is_pulled and not is_commit(revision)):
            held = await self._asked_upstream(repo_type, repo_id, revision, caller, held, refusal)
        await self._admit(held, caller)
        return held

    async def all(self) -> list[Listing]:
        """Return every repo that the store has for everybody, each at `main`.

        Raises:
            CasError: the store cannot be read, or has nothing to serve.
        """
        hosted = await asyncio.to_thread(self._catalog.repos)
        return [each for each in await asyncio.to_thread(self._indexed, hosted) if each.access == "public"]

    def source(self, file: RepoFile) -> str:
        """Where the bytes of a file are."""
        return UPSTREAM if is_absent(file) else STORE

    def read(self, listing: Listing, file: RepoFile, start: int, stop: int, caller: Caller) -> AsyncIterator[Buffer]:
        """The bytes of a file from `start` up to `stop`; an error before the first of them is the request's answer.

        Raises:
            Refusal: the file is upstream only, and there is no upstream here.
        """
        if not is_absent(file):
            return self._content.stream(file, start, stop)
        if self.pulls is None:
            raise Refusal(
                503, "", f"{file.path} of {listing.name} was not fetched yet, and this server has no upstream"
            )
        found = UpstreamRepo(listing.repo, listing.access)
        pieces = self.pulls.read(found, file, start, stop, caller.upstream_token)
        return _from_upstream(pieces, listing.repo.repo_id)

    async def check(self) -> None:
        """Look whether requests can be answered.

        Raises:
            CasError: the store cannot be read, or has nothing to serve.
        """
        await asyncio.to_thread(self._catalog.repos)

    async def _held(self, repo_type: str, repo_id: str, revision: str) -> Listing:
        hosted = await asyncio.to_thread(self._catalog.find, repo_type, repo_id, revision)
        key = _key(hosted)
        if found := self._listings.get(key):
            return found
        return (await asyncio.to_thread(self._indexed, [hosted]))[0]

    async def _asked_upstream(
        self, repo_type: str, repo_id: str, revision: str, caller: Caller, held: Listing | None, refusal: Refusal
    ) -> Listing:
        """What the hub says of a revision: its commit is looked for in the store before it is taken from the hub."""
        if self.pulls is None:
            if held is None:
                raise refusal
            return held
        try:
            found = await self.pulls.find(repo_type, repo_id, revision, caller.upstream_token)
        except CasError as error:
            # A hub that is away, or has lost the repo, takes nothing from what the store has of it.
            if held is not None and (revision != MAIN or MAIN in held.repo.refs):
                return held
            raise _refusal_upstream(error, repo_id, revision, refusal) from error
        try:
            return await self._held(repo_type, repo_id, found.repo.commit)
        except NotFoundError:
            return Listing(found.repo, access=found.access)

    async def _admit(self, listing: Listing, caller: Caller) -> None:
        """Check that the hub gives a gated or private repo to this caller, wherever the bytes would come from."""
        if listing.access == "public":
            return
        try:
            admitted = self.pulls is not None and await self.pulls.may_read(listing.repo, caller.upstream_token)
        except StoreError as error:
            raise _upstream_away(error) from error
        if not admitted:
            raise _not_admitted(listing.repo.repo_id, listing.access)

    def _indexed(self, hosted: Sequence[Hosted]) -> list[Listing]:
        return [self._index(each) for each in hosted]

    def _index(self, hosted: Hosted) -> Listing:
        """The listing of what the store has, with the files that only the hub has; it may read a manifest."""
        key = _key(hosted)
        if found := self._listings.get(key):
            return found
        version, repo = hosted.version, hosted.repo
        annotated = self._catalog.annotations(version)
        lacks = pulled_version.lacking(annotated)
        if lacks:
            present = {file.path for file in repo.files}
            files = (*repo.files, *(file for file in lacks if file.path not in present))
            repo = msgspec.structs.replace(repo, files=files)
        found = self._listings[key] = Listing(
            repo,
            timestamp(hosted.since),
            f"{version.model}@{named(version.digest)}",
            pulled_version.access_of(annotated),
            pulled_version.is_pulled(annotated),
        )
        while len(self._listings) > _LISTINGS:
            self._listings.popitem(last=False)
        return found


async def _from_upstream(pieces: AsyncGenerator[Buffer, None], repo_id: str) -> AsyncGenerator[Buffer, None]:
    """Pass pieces on; when the hub fails before the first of them, the caller is told that it was the hub."""
    has_begun = False
    async with contextlib.aclosing(pieces):
        try:
            async for piece in pieces:
                has_begun = True
                yield piece
        except (StoreError, NotFoundError) as error:
            if has_begun:
                raise
            refusal = _not_admitted(repo_id, "gated") if isinstance(error, AccessDenied) else _upstream_away(error)
            raise refusal from error


def _key(hosted: Hosted) -> tuple[str, str, str, str]:
    return hosted.version.digest, hosted.repo.repo_type, hosted.repo.repo_id, hosted.repo.commit


def _not_admitted(repo_id: str, access: str) -> Refusal:
    if access == "private":
        return no_repo(repo_id)
    return Refusal(403, "GatedRepo", f"{repo_id} is gated upstream: accept its terms there, and set HF_TOKEN")


def _refusal_upstream(error: CasError, repo_id: str, revision: str, otherwise: Refusal) -> Refusal:
    """What a caller is told when the hub does not give what the store lacks."""
    if isinstance(error, UpstreamRevisionMissing):
        return no_revision(repo_id, revision)
    if isinstance(error, NotFoundError):
        return otherwise
    if isinstance(error, AccessDenied):
        return _not_admitted(repo_id, "gated")
    return _upstream_away(error)


def _upstream_away(error: CasError) -> Refusal:
    return Refusal(503, "", str(error), {"Retry-After": str(RETRY_SECONDS)})
