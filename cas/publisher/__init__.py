"""Publish: from a Hugging Face cache or a folder to a store; chunks first, then the manifest, then the tags."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cas
from cas import config, events, manifest, refs
from cas.digest import named
from cas.digest import parse as digest_in
from cas.errors import CacheError, FormatError, InputError, IntegrityError, NotFoundError, RefMoved
from cas.folder import read_at
from cas.manifest import Manifest, check_name
from cas.parallel import Pool, for_each
from cas.publisher.gather import gather
from cas.publisher.index import Index, Slice, index
from cas.publisher.source import Source
from cas.refs import DEFAULT_TAG, Reference
from cas.store import Store, open_store

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
    cache_dir: str | Path | None = None,
    download: bool = True,
    force: bool = False,
    dry_run: bool = False,
    limits: config.Limits | None = None,
    on_event: events.Listener = events.ignore,
) -> Published:
    """Publishes `source` as a version of `model` and moves `tags` to it.

    store: an open one, a URL, or None for the default. cache_dir: the hub cache to download into and read
    from. download: False takes what is there. force: upload every chunk anew, over a damaged store.
    dry_run: write nothing to the store. Raises InputError, NotFoundError, IntegrityError, StoreError or
    CacheError; chunks sent by then need not be sent again by the next call, and no tag has moved.
    """
    begun = time.monotonic()
    names = tuple(check_name(tag, "tag") for tag in dict.fromkeys(tags)) or (DEFAULT_TAG,)
    check_name(model, "model")
    held = store if isinstance(store, Store) else open_store(store)
    job = _Publish(held, model, limits or config.Limits(), on_event, force=force)
    with contextlib.suppress(NotFoundError):
        held.check_format()
    parent_digest, parent = job.parent(names[0])
    gathered = gather(source, config.cache_dirs(cache_dir), on_event, download=download)
    # A forced publish takes nobody's word: it reads every file, and checks it against its blob's name.
    found = index(gathered, None if force else parent, job.limits, on_event)
    missing = job.missing(found)
    new = _manifest(model, found, parent_digest)
    created = parent is None or parent.content() != new.content()
    digest = manifest.digest_of(new) if created or parent_digest is None else parent_digest
    moved: tuple[str, ...] = ()
    if not dry_run:
        held.create()
        job.upload(found, missing)
        on_event(events.Phase("commit"))
        if created:
            held.put_manifest(new)
            # A damaged one of the same name would have stayed; no tag may ever name it.
            held.get_manifest(model, digest)
        moved = job.move(names, digest, parent_digest)
    return Published(
        reference="" if dry_run and created else f"{model}@{named(digest)}",
        total=new.plain_size,
        uploaded=job.uploaded if not dry_run else sum(found.slices[chunk].size for chunk in missing),
        wire=job.wire,
        chunks=len(found.slices),
        uploaded_chunks=job.uploaded_chunks if not dry_run else len(missing),
        moved=moved,
        seconds=time.monotonic() - begun,
        created=created,
        dry_run=dry_run,
    )


def _manifest(model: str, found: Index, parent: str | None) -> Manifest:
    new = Manifest(
        model=model,
        created=manifest.now(),
        created_by=f"cas {cas.__version__}",
        parent=named(parent) if parent else None,
        repos=found.repos,
        files=found.files,
    )
    try:
        manifest.encode(new)
    except FormatError as error:
        raise InputError(f"this cannot be published: {error}; leave files out with --include") from None
    return new


class _Codec:
    """What one thread needs to turn a slice of a file into a frame."""

    def __init__(self) -> None:
        from cas.frame import Decoder, Encoder

        self.encoder, self.decoder = Encoder(), Decoder()
        self._buffer = bytearray()

    def read(self, piece: Slice) -> memoryview:
        if len(self._buffer) < piece.size:
            self._buffer = bytearray(piece.size)
        view = memoryview(self._buffer)[: piece.size]
        fd = os.open(piece.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if read_at(fd, view, piece.offset) != piece.size:
                raise IntegrityError("the file became shorter")
        finally:
            os.close(fd)
        return view


class _Publish:
    """One publish under way, and its counts."""

    def __init__(
        self, store: Store, model: str, limits: config.Limits, listen: events.Listener, *, force: bool
    ) -> None:
        self._store, self._model, self._listen, self._force = store, model, listen, force
        self.limits = limits
        self.uploaded = self.wire = self.uploaded_chunks = 0
        self._counting = threading.Lock()

    def parent(self, tag: str) -> tuple[str | None, Manifest | None]:
        """Digest and manifest of the version that `tag` names now, if any."""
        digest = self._current(tag)
        if digest is None:
            return None, None
        try:
            return digest, self._store.get_manifest(self._model, digest)
        except (NotFoundError, IntegrityError) as error:
            self._listen(
                events.Warned(
                    f"the version that {self._model}:{tag} names cannot be read and is not built upon: {error}"
                )
            )
            return None, None

    def missing(self, found: Index) -> set[str]:
        """Digests of the chunks to upload."""
        if self._force:
            return set(found.slices)
        self._listen(events.Phase("lookup"))
        return found.slices.keys() - self._store.present(_sizes(found, found.slices), self.limits)

    def upload(self, found: Index, missing: set[str]) -> None:
        """Uploads `missing`, and then whatever else of the index has vanished from the store meanwhile."""
        while missing:
            self._send(found, missing)
            reused = found.slices.keys() - missing
            missing = reused - self._store.present(_sizes(found, reused), self.limits)
            if self._force:
                return

    def _send(self, found: Index, missing: set[str]) -> None:
        pieces = [(digest, piece) for digest, piece in found.slices.items() if digest in missing]
        self._listen(events.Phase("upload", sum(piece.size for _, piece in pieces)))
        codecs = Pool(_Codec, self.limits.workers)

        def send_one(item: tuple[str, Slice]) -> None:
            digest, piece = item
            with codecs.lend() as codec:
                try:
                    plain = codec.read(piece)
                    frame = self._store.make_frame(digest, plain, piece.width, codec.encoder, codec.decoder)
                except (IntegrityError, OSError) as error:
                    raise CacheError(
                        f"{piece.path} changed after it was hashed ({error}): publish again when its writer is done, "
                        "or with --force, which checks it anew, when nobody writes to it"
                    ) from error
            self._store.put_frame(digest, frame, overwrite=self._force)
            with self._counting:
                self.uploaded_chunks += 1
                self.uploaded += piece.size
                self.wire += len(frame)
            self._listen(events.Moved(piece.size, len(frame)))

        for_each(
            send_one,
            pieces,
            threads=min(self.limits.uploads, len(pieces)),
            cost=lambda item: item[1].size,
            budget=self.limits.budget,
        )

    def move(self, tags: Sequence[str], digest: str, parent: str | None) -> tuple[str, ...]:
        """Moves each tag that names something else; raises RefMoved."""
        moved = []
        for tag in tags:
            current = self._current(tag)
            if current == digest:
                continue
            if tag == tags[0] and current not in (None, parent):
                self._listen(
                    events.Warned(
                        f"{self._model}:{tag} was moved to {self._model}@{current} by somebody else during this "
                        "publish, and is moved on from there"
                    )
                )
            try:
                self._log(tag).append(digest, reason="publish")
            except RefMoved:
                self._listen(events.Warned(f"published as {self._model}@{named(digest)}, but {tag} names another"))
                raise
            moved.append(tag)
        return tuple(moved)

    def _current(self, tag: str) -> str | None:
        """The digest that `tag` names now; None when it names none, or its last entry cannot be read."""
        try:
            entry = self._log(tag).current()
        except FormatError as error:
            self._listen(events.Warned(str(error)))
            return None
        return None if entry is None else digest_in(entry.manifest)

    def _log(self, tag: str) -> refs.RefLog:
        return refs.log_of(self._store, Reference(self._model, tag=tag))


def _sizes(found: Index, digests: Iterable[str]) -> dict[str, int]:
    return {digest: found.slices[digest].size for digest in digests}
