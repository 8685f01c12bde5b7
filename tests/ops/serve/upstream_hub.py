"""A hub that shows a repo to some callers only, and records which tokens it is sent."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any

from tools.servers import hub as hub_tool
from tools.servers.hub import Hub


class GuardedHub(Hub):
    """A hub with private and gated repos.

    Attributes:
        private: repo id -> the token that sees it.
        gated: repo id -> the token that gets its files.
        tokens: the values of the Authorization header so far; None for a request without one.
        busy: answer 429 to everything.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.private: dict[str, str] = {}
        self.gated: dict[str, str] = {}
        self.tokens: set[str | None] = set()
        self.busy = False
        guarded = self

        class Handler(hub_tool._Handler):
            def do_GET(self) -> None:  # noqa: N802 (http.server gives the name)
                token = self.headers.get("Authorization")
                guarded.tokens.add(token)
                if guarded.down:
                    super().do_GET()
                elif guarded.busy:
                    self._reply(HTTPStatus.TOO_MANY_REQUESTS, b"{}", {"Retry-After": "60"})
                elif self._is_hidden(token, guarded.private, ""):
                    self._reply(HTTPStatus.UNAUTHORIZED, b"{}", {"X-Error-Code": "RepoNotFound"})
                elif self._is_hidden(token, guarded.gated, "/resolve/"):
                    self._reply(HTTPStatus.FORBIDDEN, b"{}", {"X-Error-Code": "GatedRepo"})
                else:
                    super().do_GET()

            do_HEAD = do_GET  # noqa: N815 (as above)

            def _is_hidden(self, token: str | None, repos: dict[str, str], part: str) -> bool:
                return any(
                    f"{repo}/" in f"{self.path}/" and part in self.path and token != f"Bearer {wanted}"
                    for repo, wanted in repos.items()
                )

            def _json(self, value: Any) -> None:
                if isinstance(value, dict) and value.get("id") in guarded.gated:
                    value = {**value, "gated": "manual"}
                super()._json(value)

        self._server.RequestHandlerClass = Handler

    def downloads(self, name: str) -> int:
        """How often a file was asked for."""
        return sum(
            method == "GET" and path.endswith(f"/{name}") and "/resolve/" in path for method, path in self.requests
        )
