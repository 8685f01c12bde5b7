"""A hub that a server asks on behalf of its callers: what a repo holds, who may read it, the bytes of one file.

This is no user's client: it has no token of its own, no cookies and no cache. `cas/hub/download.py` is that client. It
needs httpx2, of the extra `serve`. A caller's token goes to the hub's own origin only, never where it redirects to.
"""

from __future__ import annotations

import contextlib
import http.cookiejar
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import httpx2
import msgspec

from cas.config import ca_bundle
from cas.errors import (
    AccessDenied,
    CasError,
    FormatError,
    InputError,
    NotFoundError,
    StoreError,
    Transient,
    Unreachable,
)
from cas.formats import paths
from cas.formats.manifest import Repo
from cas.hub.upstream_answers import INFO, begin_of, refused
from cas.local.hf_cache import is_commit

_INFO_SECONDS = 10.0  # for an answer about a repo
_STALL_SECONDS = 30.0  # without a byte of a file
_MAX_INFO = 64 * 1024 * 1024  # bytes of the longest answer about a repo
_PIECE = 1024 * 1024
_REDIRECTS = 5
_CONNECTIONS = 64


class UpstreamRepo(NamedTuple):
    """What the hub says of a repo.

    Attributes:
        repo: its files at one commit, without chunks.
        access: `public`, or who the hub gives it to: `gated` for users who accepted its terms, `private` for those who
            may see it at all.
    """

    repo: Repo
    access: str


class Upstream:
    """The hub, for one event loop.

    Args:
        url: of the hub, `https://huggingface.co` or a mirror's.
        count: told of each request's outcome: its status, or `unreachable`.

    Attributes:
        url: of the hub, without a slash at its end.

    Raises:
        InputError: the URL is none, or holds a user or password; or the variables of proxies or certificates are wrong.
    """

    def __init__(self, url: str, count: Callable[[str], None] = lambda outcome: None) -> None:
        self.url, self._count = check_url(url), count
        self._is_https = self.url.startswith("https://")
        try:
            self._client = httpx2.AsyncClient(
                verify=_tls(),
                timeout=httpx2.Timeout(_STALL_SECONDS, connect=_INFO_SECONDS),
                limits=httpx2.Limits(max_connections=_CONNECTIONS),
                follow_redirects=True,
                max_redirects=_REDIRECTS,
                headers={"User-Agent": "model-cas", "Accept-Encoding": "identity"},
                # A cookie would tell the hub, and so the next caller, who asked before.
                cookies=http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[])),
                event_hooks={"request": [self._check_redirect]},
            )
        except (ImportError, ValueError, OSError, httpx2.InvalidURL) as error:
            why = f"{type(error).__name__}: {error}" if isinstance(error, ImportError | OSError) else "a proxy's URL"
            raise InputError(
                f"{self.url} cannot be asked ({why}): check the variables of proxies and of certificates"
            ) from error

    async def find(self, repo_type: str, repo_id: str, revision: str, token: str) -> UpstreamRepo:
        """Ask what a repo holds at a revision.

        Args:
            repo_type: model, dataset or space.
            repo_id: as on the hub.
            revision: a branch, a tag or a commit.
            token: the caller's; empty for none.

        Raises:
            UpstreamRepoMissing, UpstreamRevisionMissing: the hub has no such thing for this caller.
            AccessDenied: the hub refuses the caller.
            FormatError: the answer cannot be used.
            StoreError: the hub cannot be reached, or fails.
        """
        where = f"{repo_id}@{revision}"
        path = f"/api/{repo_type}s/{repo_id}/revision/{quote(revision, safe='')}?blobs=true"
        document = await self._document(path, where, token)
        try:
            info = INFO.decode(document)
            files = info.files()
            if not is_commit(info.sha) or (is_commit(revision) and info.sha != revision):
                raise FormatError(f"it names {info.sha!a} as a commit")
        except (msgspec.MsgspecError, ValueError, FormatError, RecursionError) as error:
            raise FormatError(f"{self.url} describes {where} in a way that cannot be used: {error}") from None
        access = "private" if info.private else "gated" if info.gated else "public"
        if token and access == "public" and not await self._is_public(path, where):
            access = "private"
        refs = () if is_commit(revision) or not _is_storable(revision) else (revision,)
        return UpstreamRepo(Repo(repo_id, repo_type, info.sha, refs, files), access)

    async def may_read(self, repo: Repo, path: str, token: str) -> bool:
        """Ask whether the hub lets a caller read a file, by the request that clients make before a download.

        Raises:
            StoreError: the hub cannot be reached, or fails.
        """
        where, url = f"{path} of {repo.repo_id}", self.url + _file_path(repo, path)
        for _ in range(_REDIRECTS):
            try:
                async with self._ask("HEAD", url, where, token, follow=False) as answer:
                    onward = answer.next_request
            except (AccessDenied, NotFoundError):
                return False
            # The hub sends whom it admits to its storage. A redirect to itself admits nobody: a repo was renamed.
            if onward is None or not self._is_own(onward.url):
                return True
            url = str(onward.url)
        raise StoreError(f"{self.url} redirects in a circle for {where}")

    async def read(self, repo: Repo, path: str, token: str, start: int) -> AsyncIterator[bytes]:
        """Yield a file's bytes from `start` on; they are not verified, and may end early.

        Raises:
            AccessDenied, NotFoundError: the hub refuses the caller, or has lost the file.
            StoreError: the hub cannot be reached, fails, or stops in the middle.
        """
        where = f"{path} of {repo.repo_id}@{repo.commit[:12]}"
        headers = {"Range": f"bytes={start}-"} if start else {}
        async with self._ask("GET", self.url + _file_path(repo, path), where, token, headers) as answer:
            begins = begin_of(answer)
            if begins is None or begins > start:
                raise StoreError(f"{self.url} sends {where} from another byte than {start}")
            with _network_errors(self.url, where):
                async for piece in answer.aiter_raw(_PIECE):
                    # A server that knows no ranges sends the file from its beginning.
                    skipped = min(len(piece), max(0, start - begins))
                    begins += len(piece)
                    if len(piece) > skipped:
                        yield piece[skipped:]

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _is_public(self, path: str, where: str) -> bool:
        try:
            await self._document(path, where, "")
        except (AccessDenied, NotFoundError):
            return False
        return True

    async def _document(self, path: str, where: str, token: str) -> bytes:
        async with self._ask("GET", self.url + path, where, token) as answer:
            document = bytearray()
            with _network_errors(self.url, where):
                async for piece in answer.aiter_raw():
                    document += piece
                    if len(document) > _MAX_INFO:
                        raise FormatError(f"{self.url} describes {where} in more than {_MAX_INFO} bytes")
            return bytes(document)

    @contextlib.asynccontextmanager
    async def _ask(
        self,
        method: str,
        url: str,
        where: str,
        token: str,
        headers: Mapping[str, str] = MappingProxyType({}),
        *,
        follow: bool = True,
    ) -> AsyncIterator[httpx2.Response]:
        """Send a request, and raise what its status means."""
        given = {**headers, **({"Authorization": f"Bearer {token}"} if token else {})}
        request = self._client.build_request(method, url, headers=given)
        try:
            with _network_errors(self.url, where):
                answer = await self._client.send(request, stream=True, follow_redirects=follow)
        except CasError:
            self._count("unreachable")
            raise
        self._count(str(answer.status_code))
        try:
            if error := refused(answer, self.url, where):
                raise error
            yield answer
        finally:
            await answer.aclose()

    def _is_own(self, url: httpx2.URL) -> bool:
        own = httpx2.URL(self.url)
        return (url.scheme, url.host, url.port) == (own.scheme, own.host, own.port)

    async def _check_redirect(self, request: httpx2.Request) -> None:
        if self._is_https and request.url.scheme != "https":
            raise httpx2.UnsupportedProtocol("a redirect away from https")


def check_url(url: str) -> str:
    """Return the URL of a hub without a slash at its end.

    Raises:
        InputError: it is none, or holds a user or password, or a query.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise InputError("--upstream is no URL of a hub: write it as https://huggingface.co")
    if parts.username or parts.password:
        raise InputError("--upstream holds a user or password, which all callers would share: leave it out")
    return url.rstrip("/")


def _tls() -> ssl.SSLContext | bool:
    return ssl.create_default_context(cafile=bundle) if (bundle := ca_bundle().value) else True


def _is_storable(revision: str) -> bool:
    """Whether a manifest may hold the name of a branch."""
    try:
        paths.check_path(revision)
    except FormatError:
        return False
    return True


def _file_path(repo: Repo, path: str) -> str:
    kind = "" if repo.repo_type == "model" else f"/{repo.repo_type}s"
    return f"{kind}/{repo.repo_id}/resolve/{repo.commit}/{quote(path)}"


@contextlib.contextmanager
def _network_errors(url: str, where: str) -> Iterator[None]:
    try:
        yield
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
        raise Unreachable(f"{url} cannot be reached for {where} ({type(error).__name__})") from error
    except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL) as error:
        raise Transient(f"{url} stopped in the middle of {where} ({type(error).__name__})") from error
