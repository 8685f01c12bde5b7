"""A store served as a hub from this process."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from cas import config, events
from cas.errors import InputError
from cas.store.store import Store, open_store

if TYPE_CHECKING:
    from cas.ops.serve.pull_through import Publish, PulledRepo
    from cas.ops.serve.server import HubServer

PORT = 8000
"""The TCP port of a server that nobody names another one for."""

CACHE_SIZE = 20 * 1000**3
"""The most bytes that the cache of a server takes unless somebody says otherwise."""

_LIBRARIES = ("starlette", "uvicorn", "httptools", "httpx2", "prometheus_client")


def serve(
    store: Store | str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    tags: Sequence[str] = (),
    pins: Sequence[str] = (),
    token: str | None = None,
    upstream: str | None = None,
    cache: str | Path | None = None,
    cache_size: int = CACHE_SIZE,
    on_event: events.Listener = events.log,
) -> HubServer:
    """Return a server that answers clients of Hugging Face's hub from a store: it runs while it is a context.

        with cas.serve("s3://my-models/cas", port=0) as server:
            print(server.endpoint)  # HF_ENDPOINT of any client

    Args:
        store: an open store, a URL, or None for the default.
        host: the address to listen on.
        port: the TCP port; 0 for a free one.
        tags: serve what these tags name; without tags and pins, all that any of them names.
        pins: serve what these deployments pin.
        token: what callers must send; None for nothing.
        upstream: URL of the hub from which to fetch, and publish, what the store lacks.
        cache: the folder of fetched chunks; by default one of this user's.
        cache_size: the most bytes that it may take.
        on_event: hears which versions are chosen, and warnings; called from several threads.

    Raises:
        InputError: a library of the extra `serve` is missing, the address cannot be bound, or an argument is not valid.
        SignatureError: with an upstream hub, keys are trusted, and none of them signs here.
        CacheError: the folder cannot be used.
    """
    require_libraries()
    from cas.ops.serve.server import HubServer, Serving

    serving = Serving(
        cache=_cache_folder(cache),
        cache_size=cache_size,
        host=host,
        port=port,
        tags=tags,
        pins=pins,
        token=_checked(token),
        upstream=upstream,
    )
    opened = open_store(store)
    return HubServer(opened, serving, publisher_for(opened), on_event)


def _checked(token: str | None) -> str | None:
    """Refuse a token that no client can send: an empty one would let in everybody."""
    if token is not None and (not token.isascii() or not token.isprintable() or " " in token or not token):
        why = "is empty" if not token else "holds other characters than a client can send"
        raise InputError(f"the token for clients {why}: choose letters and digits (--token, CAS_SERVE_TOKEN)")
    return token


def require_libraries() -> None:
    """Raise InputError unless the libraries of the extra `serve` are installed."""
    if missing := [name for name in _LIBRARIES if find_spec(name) is None]:
        raise InputError(f"`cas serve` takes {missing[0]}, which is not installed: pip install 'model-cas[serve]'")


def _cache_folder(given: str | Path | None) -> Path:
    if given is not None:
        return config.expand_user(given)
    if (folder := config.user_directory("XDG_CACHE_HOME", ".cache")) is None:
        raise InputError("this user has no cache folder: name one for the server with --cache")
    return folder / "model-cas" / "serve"


def publisher_for(store: Store) -> Publish:
    """The function that publishes what comes from the upstream hub, as `cas publish` does what is in a hub cache."""

    def publish(pulled: PulledRepo) -> str:
        from cas.config import CacheDirs
        from cas.hub.source import RepoSource
        from cas.ops.publish import publisher
        from cas.ops.serve.pulled_version import TAG

        repo = pulled.repo
        return publisher.publish(
            pulled.model,
            publisher.Source(repos=(RepoSource(repo.repo_id, repo.repo_type, repo.commit, refs=repo.refs),)),
            store,
            tags=(TAG,),
            cache_dir=CacheDirs(pulled.hub, pulled.hub),
            download=False,
            extend=True,
            annotations=pulled.annotations,
        ).reference

    return publish
