"""The server as an ASGI application: each request is let in, routed, answered and counted, whatever goes wrong."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from cas import events
from cas.errors import CasError
from cas.ops.serve.access import OPEN_PATHS, Access
from cas.ops.serve.answers import Refusal, refusal_for
from cas.ops.serve.hosting import Hosting
from cas.ops.serve.metrics import Metrics
from cas.ops.serve.routes import Routes

_NO_ROUTE = "none"


class Application:
    """The ASGI application.

    Args:
        hosting: finds repos and reads files.
        access: lets requests in.
        metrics: counts.
        listen: told of failures.
    """

    def __init__(self, hosting: Hosting, access: Access, metrics: Metrics, listen: events.Listener) -> None:
        self._access, self._metrics, self._listen = access, metrics, listen
        self._app = Starlette(
            routes=Routes(hosting, metrics, listen).table(),
            exception_handlers={Refusal: self._refuse, CasError: self._fail, HTTPException: self._no_route},
        )
        # A redirect would lead to whatever host the client named.
        self._app.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        # Routes match the path as it was sent: an escaped slash is no separator.
        scope["path"] = scope["raw_path"].decode("ascii", "replace")
        scope["root_path"] = ""
        status = 0

        async def counted(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._answer(scope, receive, counted)
        except Exception as error:
            self._listen(events.Warned(f"a request failed with an unexpected {type(error).__name__}: {error}"))
            if not status:
                await _error(Refusal(500, "", "the server failed: see its log"))(scope, receive, counted)
        finally:
            route = scope.get("state", {}).get("route", _NO_ROUTE)
            self._metrics.requests.labels(route, str(status)).inc()

    async def _answer(self, scope: Scope, receive: Receive, send: Any) -> None:
        try:
            if scope["path"] not in OPEN_PATHS:
                authorization = Request(scope).headers.get("authorization", "")
                scope.setdefault("state", {})["caller"] = self._access.admit(authorization)
        except Refusal as refusal:
            await _error(refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refuse(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        return _error(error)

    def _fail(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, CasError)
        self._listen(events.Warned(str(error)))
        return _error(refusal_for(error))

    def _no_route(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        refusal = Refusal(
            error.status_code, "", f"this server has no answer to {request.method} {request.scope['path']}"
        )
        return _error(refusal)


def _error(refusal: Refusal) -> Response:
    return JSONResponse({"error": refusal.message}, refusal.status, refusal.all_headers())
