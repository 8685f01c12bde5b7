"""The hub's HTTP API: which request is which, and its answer.

    GET  /api/{kind}                                             the repos that are served
    GET  /api/{kind}/{repo}[/revision/{revision}]                model info, with the files
    GET  /api/{kind}/{repo}/tree/{revision}[/{folder}]           a folder
    POST /api/{kind}/{repo}/paths-info/{revision}                some files
    GET  /api/{kind}/{repo}/refs, /auth-check
    GET  /[datasets/|spaces/]{repo}/resolve/{revision}/{path}    a file; HEAD for its headers
    GET  /v2/{repo}/manifests/{tag}                              llama.cpp: which GGUF file a tag means
    GET  /health, /metrics

A path is matched as it was sent, before its escapes are decoded: a revision may hold an escaped slash. What a client
names is looked up in a manifest, never on a disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote_to_bytes

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from cas import events
from cas.errors import CasError, NotFoundError
from cas.formats.digest import Buffer
from cas.ops.serve import answers
from cas.ops.serve.access import Caller
from cas.ops.serve.answers import Refusal
from cas.ops.serve.body import FileBody, is_unchanged, span_of
from cas.ops.serve.gguf_choice import chosen_gguf
from cas.ops.serve.hosting import Hosting
from cas.ops.serve.listing import Listing
from cas.ops.serve.metrics import CONTENT_TYPE, Metrics

MAIN = "main"

_KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}
_REPOS = ("{org}/{name}", "{name}")
_MOST_PATHS = 10_000  # of one paths-info request
_MOST_REPOS = 1_000  # of one list
_FEW_FILES = 1_000
_CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f]"
)  # no path of a manifest holds them; spaces and joiners of other scripts it may

Handler = Callable[[Request], Awaitable[ASGIApp]]


class Routes:
    """The handlers of all requests.

    Args:
        hosting: finds repos and reads files.
        metrics: counts.
        listen: told of failures, which callers hear of in general words only.
    """

    def __init__(self, hosting: Hosting, metrics: Metrics, listen: events.Listener) -> None:
        self._hosting, self._metrics, self._listen = hosting, metrics, listen

    def table(self) -> list[Route]:
        """Return the requests that are answered; the first row that fits counts."""
        rows: list[tuple[str, Handler, str]] = [
            ("/health", self._health, "GET"),
            ("/metrics", self._show_metrics, "GET"),
            ("/api/{kind}", self._list, "GET"),
        ]
        for repo in _REPOS:
            api = f"/api/{{kind}}/{repo}"
            rows += [
                (f"{api}/revision/{{revision}}", self._info, "GET"),
                (f"{api}/tree/{{revision}}", self._tree, "GET"),
                (f"{api}/tree/{{revision}}/{{path:path}}", self._tree, "GET"),
                (f"{api}/paths-info/{{revision}}", self._paths_info, "POST"),
                (f"{api}/refs", self._refs, "GET"),
                (f"{api}/auth-check", self._auth_check, "GET"),
                (f"/v2/{repo}/manifests/{{tag}}", self._gguf, "GET"),
            ]
        rows += [(f"/api/{{kind}}/{repo}", self._info, "GET") for repo in _REPOS]
        for kind in ("/datasets", "/spaces", ""):
            rows += [(f"{kind}/{repo}/resolve/{{revision}}/{{path:path}}", self._resolve, "GET") for repo in _REPOS]
        return [Route(path, _endpoint(handler), methods=[method]) for path, handler, method in rows]

    async def _health(self, request: Request) -> ASGIApp:
        try:
            await self._hosting.check()
        except NotFoundError as error:
            return JSONResponse({"status": "nothing to serve yet", "why": type(error).__name__})
        return JSONResponse({"status": "ok"})

    async def _show_metrics(self, request: Request) -> ASGIApp:
        return Response(self._metrics.text(), media_type=CONTENT_TYPE)

    async def _list(self, request: Request) -> ASGIApp:
        kind, search = _kind(request), request.query_params.get("search", "").lower()
        author = request.query_params.get("author", "")
        found = [listing for listing in await self._hosting.all() if listing.repo.repo_type == kind]
        chosen = [
            listing
            for listing in found
            if search in listing.repo.repo_id.lower()
            and listing.repo.repo_id.startswith(f"{author}/" if author else "")
        ]
        return JSONResponse([answers.summary(each.repo, each.time) for each in chosen[:_MOST_REPOS]])

    async def _info(self, request: Request) -> ASGIApp:
        listing = await self._listing(request)
        return await _document(listing, lambda: answers.info(listing))

    async def _tree(self, request: Request) -> ASGIApp:
        listing = await self._listing(request)
        recursive = request.query_params.get("recursive", "false").lower() in ("true", "1")
        folder = _param(request, "path").strip("/")
        return await _document(listing, lambda: answers.tree(listing, folder, recursive=recursive))

    async def _paths_info(self, request: Request) -> ASGIApp:
        paths = asked_paths(request.headers.get("content-type", ""), await request.body())
        listing = await self._listing(request)
        return await _document(listing, lambda: answers.paths_info(listing, paths))

    async def _refs(self, request: Request) -> ASGIApp:
        listing = await self._listing(request)
        return JSONResponse(answers.refs(listing.repo))

    async def _auth_check(self, request: Request) -> ASGIApp:
        await self._listing(request)
        return JSONResponse({})

    async def _gguf(self, request: Request) -> ASGIApp:
        listing = await self._listing(request)
        tag = _param(request, "tag")
        if (chosen := chosen_gguf(listing, tag)) is None:
            raise Refusal(404, "EntryNotFound", f"{listing.name} has no GGUF file for {tag}")
        return JSONResponse(chosen)

    async def _resolve(self, request: Request) -> ASGIApp:
        listing, path = await self._listing(request), _param(request, "path")
        if (file := listing.files.get(path)) is None:
            raise answers.no_file(listing, path)
        headers = answers.file_headers(listing, file)
        if is_unchanged(request.headers, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        span = span_of(request.headers, file.size, headers["ETag"])
        headers["Content-Length"] = str(span.stop - span.start)
        if span.partial:
            headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{file.size}"
        status = 206 if span.partial else 200
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers)
        pieces = self._hosting.read(listing, file, span.start, span.stop, _caller(request))
        sent = self._metrics.sent.labels(self._hosting.source(file))
        return FileBody(status, headers, self._while_sending(pieces), sent.inc, self._cut_off(listing, path))

    async def _while_sending(self, pieces: AsyncIterator[Buffer]) -> AsyncIterator[Buffer]:
        with self._metrics.sending.track_inprogress():
            try:
                async for piece in pieces:
                    yield piece
            finally:
                if close := getattr(pieces, "aclose", None):
                    await close()

    def _cut_off(self, listing: Listing, path: str) -> Callable[[BaseException], None]:
        def told(error: BaseException) -> None:
            self._metrics.cut.labels("failure").inc()
            why = str(error) if isinstance(error, CasError) else f"unexpected {type(error).__name__}: {error}"
            self._listen(events.Warned(f"{path} of {listing.name}: the connection was closed in the middle: {why}"))

        return told

    async def _listing(self, request: Request) -> Listing:
        org, name = request.path_params.get("org"), request.path_params["name"]
        repo_id = f"{decoded(org)}/{decoded(name)}" if org else decoded(name)
        revision = _param(request, "revision") or MAIN
        return await self._hosting.find(_kind(request), repo_id, revision, _caller(request))


def _endpoint(handler: Handler) -> Handler:
    """A function of the name that metrics show, as Starlette takes functions, not methods, for what gets a Request."""

    async def endpoint(request: Request) -> ASGIApp:
        request.state.route = handler.__name__.strip("_").replace("_", "-")
        return await handler(request)

    return endpoint


async def _document(listing: Listing, make: Callable[[], Any]) -> ASGIApp:
    """An answer about a repo; in a thread for one with so many files that others would wait for it."""
    if len(listing.files) <= _FEW_FILES:
        return JSONResponse(make())
    return await asyncio.to_thread(lambda: JSONResponse(make()))


def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


def _kind(request: Request) -> str:
    kind = request.path_params.get("kind", "")
    if not kind:
        first = request.scope["path"].split("/", 2)[1]
        kind = first if first in ("datasets", "spaces") else "models"
    if kind not in _KINDS:
        raise Refusal(404, "", f"{kind} are not served here: models, datasets and spaces are")
    return _KINDS[kind]


def _param(request: Request, name: str) -> str:
    return decoded(request.path_params.get(name, ""))


def decoded(text: str) -> str:
    """A part of the path without its escapes.

    Raises:
        Refusal: it is no UTF-8, or holds control characters.
    """
    with contextlib.suppress(UnicodeDecodeError):
        decoded = unquote_to_bytes(text).decode()
        if not _CONTROL.search(decoded):
            return decoded
    raise Refusal(400, "", "the path of this request is not readable text")


def asked_paths(content_type: str, body: bytes) -> Sequence[str]:
    """The paths of a paths-info request, which clients send as a form or as JSON.

    Raises:
        Refusal: the body is neither, or names too many.
    """
    try:
        if content_type.partition(";")[0].strip() == "application/json":
            document: Any = json.loads(body)
            given = document.get("paths", []) if isinstance(document, dict) else None
            paths = [given] if isinstance(given, str) else given
        else:
            paths = parse_qs(body.decode(), max_num_fields=_MOST_PATHS + 10).get("paths", [])
    except (ValueError, RecursionError):
        paths = None
    if not isinstance(paths, list) or len(paths) > _MOST_PATHS or not all(isinstance(path, str) for path in paths):
        raise Refusal(400, "", f"the body of this request does not name paths, {_MOST_PATHS} at most")
    return paths
