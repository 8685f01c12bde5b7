"""Publish: from a Hugging Face cache or a folder to a store; chunks first, then the manifest, then the tags."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cas import config, events
from cas.errors import FormatError, InputError, NotFoundError
from cas.formats import manifest
from cas.formats.digest import named
from cas.formats.manifest import Manifest, PlainFile, Repo, check_name
from cas.hub.gather import gather
from cas.hub.source import Source
from cas.ops.publish.commit import Committed, commit
from cas.ops.publish.plan import Index
from cas.ops.publish.upload import Sender
from cas.refs import tagging
from cas.refs.reference import DEFAULT_TAG
from cas.refs.reflog import Move
from cas.store import leases
from cas.store.store import Store, open_store
from cas.version import __version__

__all__ = ["Published", "Source", "publish"]


@dataclass(frozen=True, slots=True)
class Published:
    """What a publish did.

    reference: names the version for ever; empty for a dry run of a new one, whose manifest is not made. total:
    plain bytes of the model. uploaded: plain bytes sent. wire: bytes of their frames. chunks, uploaded_chunks: how
    many distinct ones, and sent. moved: tags that now name something else. seconds: wall time. created: False
    when the tag already named this content.
    """

    reference: str
    total: int
    uploaded: int
    wire: int
    chunks: int
    uploaded_chunks: int
    moved: tuple[str, ...]
    seconds: float
    created: bool
    dry_run: bool = False


def publish(
    model: str,
    source: Source,
    store: Store | str | None = None,
    *,
    tags: Sequence[str] = (DEFAULT_TAG,),
    cache_dir: str | Path | config.CacheDirs | None = None,
    download: bool = True,
    force: bool = False,
    dry_run: bool = False,
    by: str | None = None,
    expect: Move | None = None,
    limits: config.Limits | None = None,
    on_event: events.Listener = events.ignore,
) -> Published:
    """Publishes `source` as a version of `model` and moves `tags` to it.

    store: an open one, a URL, or None for the default. cache_dir: the hub cache to download into and read
    from, or with HF_HOME beside it. download: False takes what is there. force: upload every chunk anew, over a
    damaged store. by: who moves the tags, by default user@host. expect: the move that must still be the first tag's
    last one, UNSET for none, unless it names this content already. dry_run: write nothing to the store. Raises
    InputError, NotFoundError, IntegrityError, CacheError or StoreError, such as RefMoved; chunks sent by then need not
    be sent again by the next call, and no tag has moved.
    """
    begun = time.monotonic()
    names = tuple(check_name(tag, "tag") for tag in dict.fromkeys(tags)) or (DEFAULT_TAG,)
    check_name(model, "model")
    limits = limits or config.Limits()
    dirs = cache_dir if isinstance(cache_dir, config.CacheDirs) else config.cache_dirs(cache_dir)
    held = open_store(store)
    exists = _exists(held)
    with leases.LazyLease(held, f"publish {model}", on_event) as lease:
        parent_digest, parent = tagging.version(held, model, names[0], on_event)
        gathered = gather(source, dirs, on_event, download=download)
        # A forced publish takes nobody's word: it reads every file, and checks it against its blob's name.
        trusted = None if force else parent
        index = Index(gathered, trusted)
        if expect is not None and not index.seems_known:
            tagging.check(held, model, names[0], expect)  # before any work for nothing
        # What no reader would accept is refused before any work.
        _manifest(model, index.listed(read=False), parent_digest)
        if not dry_run:
            held.create()
            if force or (index.unread and not index.seems_known):
                lease.start_acquiring()
        is_condemned = (lambda digest: False) if dry_run else lease.is_condemned
        sender = Sender(held, limits, on_event, is_condemned, anew=force, ask=exists, write=not dry_run)
        sender.slices.update(index.slices)
        on_event(events.Phase("hash" if dry_run or index.seems_known else "upload", index.unread))
        sender.read(index.readings, trusted.chunks().keys() if trusted else frozenset())
        new = _manifest(model, index.listed(), parent_digest)
        created = parent is None or parent.content() != new.content()
        sender.settle(depended_on=created)
        done = Committed(parent_digest or "", (), created)
        if not dry_run:
            on_event(events.Phase("commit"))
            done = commit(held, new, names, parent_digest, lease, on_event, created=created, by=by, expect=expect)
    return Published(
        reference="" if dry_run and created else f"{model}@{named(done.digest)}",
        total=new.plain_size,
        uploaded=sender.plain,
        wire=sender.wire,
        chunks=len(sender.slices),
        uploaded_chunks=len(sender.missing),
        moved=done.moved,
        seconds=time.monotonic() - begun,
        created=done.created,
        dry_run=dry_run,
    )


def _exists(store: Store) -> bool:
    """Whether there is a store; raises FormatError when a newer version made it."""
    try:
        store.check_format()
    except NotFoundError:
        return False
    return True


def _manifest(model: str, listed: tuple[tuple[Repo, ...], tuple[PlainFile, ...]], parent: str | None) -> Manifest:
    new = Manifest(
        model=model,
        created=manifest.now(),
        created_by=f"cas {__version__}",
        parent=named(parent) if parent else None,
        repos=listed[0],
        files=listed[1],
    )
    try:
        manifest.encode(new)
    except FormatError as error:
        raise InputError(f"this cannot be published: {error}; leave files out with --include") from None
    return new
