"""Serve: a store as a Hugging Face hub, which any client reaches by HF_ENDPOINT.

    bind         the port is ours before anything else happens, so that a taken one is told at once
    catalog      which repos the chosen tags and pins name; the choice is in the log
    content      the cache of chunks on disk
    answer       one event loop in a thread: requests in, documents and files out; whatever blocks runs in other threads
    close        no new requests; files that are being sent have some seconds, then their connections are closed

The store is only read, unless an upstream hub is given: what the store lacks comes from there, and is published. What a
client names never becomes a path on this machine.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import uvicorn

from cas import events
from cas.errors import InputError, NotFoundError
from cas.formats.manifest import Repo, RepoFile
from cas.host import Limits
from cas.hub.upstream import Upstream, check_url
from cas.ops.serve.access import Access
from cas.ops.serve.application import Application
from cas.ops.serve.catalog import Catalog, Hosted
from cas.ops.serve.connections import Connection, allowed_connections
from cas.ops.serve.content import Content
from cas.ops.serve.hosting import Hosting
from cas.ops.serve.metrics import Metrics
from cas.ops.serve.pull_through import SETTLE_SECONDS, Publish, PullThrough
from cas.ops.serve.pulled_version import model_name
from cas.store.store import Store

_BACKLOG = 2048
_CLOSING_SECONDS = 5
_LAST_SECONDS = 10  # for whatever blocks a thread at the end, such as a request to a store that is away
_IDLE_SECONDS = 15  # between two requests on one connection
_THREADS = 32  # for what blocks: reads of refs and manifests, files from upstream
_ANYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 (what a user may ask for)


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """How to serve.

    Attributes:
        cache: the folder of the cache of chunks.
        cache_size: the most bytes that it may take.
        host: address to listen on.
        port: TCP port; 0 for a free one.
        tags: serve what these tags name; with no tags and no pins, all that any of them names.
        pins: serve what these deployments pin.
        token: what callers must send; None for nothing.
        upstream: URL of the hub that has what the store lacks; None for none.
        settle: seconds without a fetch after which what came from there is published.
        limits: memory, requests and threads.
    """

    cache: Path
    cache_size: int
    host: str = "127.0.0.1"
    port: int = 8000
    tags: Sequence[str] = ()
    pins: Sequence[str] = ()
    token: str | None = None
    upstream: str | None = None
    settle: float = SETTLE_SECONDS
    limits: Limits | None = None


class HubServer:
    """A server in a thread of this process, while the context lasts.

    Args:
        store: what to serve.
        serving: how.
        publish: publishes what comes from the upstream hub.
        listen: told which versions are chosen, and of failures; called from several threads.

    Attributes:
        address: that it listens on.

    Raises:
        InputError: the address cannot be bound, or the upstream hub's URL is none.
        SignatureError: with an upstream hub, keys are trusted, and none of them signs what is published from there.
        CacheError: the folder of the cache cannot be used.
    """

    def __init__(
        self, store: Store, serving: Serving, publish: Publish, listen: events.Listener = events.ignore
    ) -> None:
        if serving.upstream is not None:
            check_url(serving.upstream)
            if store.trust is not None:
                from cas.refs.signatures import signer_of

                signer_of(store, ["the tags of what comes from the upstream hub"])
        self._socket = _bind(serving.host, serving.port)
        try:
            self._content = Content(store, serving.cache, serving.cache_size, serving.limits, listen)
        except BaseException:
            self._socket.close()
            raise
        self.address, self._serving, self._publish, self._listen = serving.host, serving, publish, listen
        with_pulled = serving.upstream is not None
        self._catalog = Catalog(store, serving.tags, serving.pins, with_pulled=with_pulled, on_event=listen)
        self._metrics = Metrics()
        self._metrics.add_source(lambda: _counts(self._content))
        self._hosting = Hosting(self._catalog, self._content)
        application = Application(self._hosting, Access(serving.token), self._metrics, listen)
        count_cut = staticmethod(self._metrics.count_cut)
        limits = {"limit": allowed_connections(), "silent": {}, "count_cut": count_cut}
        protocol = type("LimitedConnection", (Connection,), limits)
        config = uvicorn.Config(
            application,
            http=protocol,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=_CLOSING_SECONDS,
        )
        # What goes wrong with a request is told by `listen`; hostile requests must not fill the log.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="cas-serve", daemon=True)
        self._begun, self._failure = threading.Event(), list[BaseException]()

    @property
    def port(self) -> int:
        """The TCP port."""
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def endpoint(self) -> str:
        """The URL for the variable HF_ENDPOINT of a client on this machine."""
        return f"http://{_reached_at(self.address)}:{self.port}"

    def repos(self) -> list[Hosted]:
        """Return what is served.

        Raises:
            CasError: the store cannot be read, or has nothing of what is to be served.
        """
        return self._catalog.repos()

    def __enter__(self) -> Self:
        """Start to answer requests.

        Raises:
            InputError: the upstream hub cannot be asked with the proxies or certificates that variables name.
        """
        self._thread.start()
        self._begun.wait()
        if self._failure:
            self.__exit__(None, None, None)
            raise self._failure[0]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop: files that are being sent have some seconds."""
        self._server.should_exit = True
        # What came from an upstream hub is published first.
        self._thread.join(None if self._serving.upstream else _CLOSING_SECONDS + _LAST_SECONDS)
        if not self._thread.is_alive():
            self._socket.close()
        self._content.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if self._begun.is_set():
                raise
            self._failure.append(error)
        finally:
            self._begun.set()

    async def _serve(self) -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, "cas-serve"))
        if self._serving.upstream is None:
            await self._answer()
            return
        # Its connections belong to this event loop.
        upstream = Upstream(
            self._serving.upstream, lambda outcome: self._metrics.upstream_requests.labels(outcome).inc()
        )
        pulls = self._hosting.pulls = PullThrough(
            upstream,
            self._content.folder / "upstream",
            self._serving.cache_size,
            self._publish,
            self._held,
            self._listen,
            self._catalog.refresh,
            self._metrics,
            self._serving.settle,
        )
        try:
            await self._answer()
        finally:
            await pulls.close()

    async def _answer(self) -> None:
        """Answer requests until the end; then cut whoever still has not read what was sent."""
        self._begun.set()
        await self._server.serve([self._socket])
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # transports close in the loop's next round

    def _held(self, repo: Repo) -> Sequence[RepoFile]:
        """The files of a repo at its commit that an earlier publish of a server brought into the store."""
        try:
            hosted = self._catalog.find(repo.repo_type, repo.repo_id, repo.commit)
        except NotFoundError:
            return ()
        return hosted.repo.files if hosted.version.model == model_name(repo) else ()


def _bind(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(
            f"port {port} of {address} cannot be listened on ({why}): choose others with --port and --host"
        ) from None


def _reached_at(address: str) -> str:
    """The address by which a program on this machine reaches a server that listens on `address`."""
    if address in _ANYWHERE:
        return "[::1]" if address == "::" else "127.0.0.1"
    return f"[{address}]" if ":" in address else address


def _counts(content: Content) -> dict[str, float]:
    counts = content.counts()
    return {
        "cache_hits_total": counts.hits,
        "cache_misses_total": counts.misses,
        "store_chunks_total": counts.fetched,
        "store_plain_bytes_total": counts.plain,
        "store_wire_bytes_total": counts.wire,
        "cache_removed_files_total": counts.removed,
        "cache_damaged_files_total": counts.damaged,
        "cached_bytes": counts.cached,
        "cache_limit_bytes": counts.limit,
        "reading_files": counts.streams,
    }
