"""Export: versions of a store into one tar file, an archive (docs/design.md, "Archive").

    resolve   what each reference names: its manifest, verified
    lease     so that no collector sweeps what is being read
    lookup    the size of every frame: a chunk that is lost, or a disk that is too small, ends the export here
    write     format.json, the manifests, then each frame in the order of the manifests, decoded and hashed before it
              is written; the refs come last

Manifests are first, so that whoever reads the archive from a pipe knows what comes, and refs last, as in every store.
Frames are fetched several at a time, and written in their order. Nothing in the archive tells when or by whom it was
written: the same version, in the same frames, is the same file to the byte. An entry that is signed goes out as it lies
in the store, under its own number and with its signatures, as these hold for nothing else.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from cas import events, host
from cas.errors import NO_SPACE, CacheError, ChunkMissing, DiskFull, FormatError, ObjectMissing, ObjectTooLarge
from cas.formats.archive import END, header, padding
from cas.formats.digest import Buffer, hex_of, named
from cas.formats.manifest import ChunkRef
from cas.local.fs import free_bytes, sync
from cas.ops.transfer.frames import FrameReader, memory_for
from cas.ops.transfer.result import Exported
from cas.ops.transfer.source_lease import source_lease
from cas.ops.transfer.wanted import EntryObjects, Naming, Wanted, distinct_chunks, wanted_versions
from cas.parallel import Pool, ReusableBuffer, for_each
from cas.refs.entry import ENTRIES, RefEntry
from cas.refs.reflog import Ref, RefLog
from cas.store import format_file
from cas.store.layout import (
    FORMAT_KEY,
    RefEntryId,
    chunk_key,
    manifest_key,
    ref_entry_key,
    ref_entry_name,
    ref_signature_key,
)
from cas.store.lookup import stored_sizes
from cas.store.store import Store, open_store

STREAM = "-"
"""The name of an archive that goes to standard output, or comes from standard input."""

_MAX_ENTRY = 64 * 1024  # bytes of an entry of a ref
_MAX_SIGNATURE = 16 * 1024  # bytes of the text of a signature
_MOST_SIGNATURES = 16


class Writable(Protocol):
    """What an archive is written to."""

    def write(self, data: memoryview, /) -> int | None:
        """Write the bytes, or the first of them; return how many."""


def export(
    references: Sequence[str],
    target: str | Path | Writable,
    store: Store | str | None = None,
    *,
    named_too: bool = True,
    limits: host.Limits | None = None,
    on_event: events.Listener = events.log,
) -> Exported:
    """Write versions, and the tags and pins by which they were named, to an archive.

    Args:
        references: name the versions.
        target: the path of the archive, which appears when it is whole and replaces what was there; or a stream.
        store: an open store, a URL, or None for the default.
        named_too: whether the tags and pins among the references go into the archive.
        limits: requests and memory.
        on_event: is told of phases, of each chunk, and of warnings.

    Raises:
        NotFoundError: the store lacks a version, or a chunk of it.
        IntegrityError: a chunk is damaged.
        CacheError: the file cannot be written; DiskFull before anything is, where it would not fit.
        StoreError: the store fails.
    """
    begun = time.monotonic()
    limits, store = limits or host.Limits(), open_store(store)
    on_event(events.Phase("resolve"))
    wanted = sorted(wanted_versions(store, references, Naming(keep=named_too), on_event), key=lambda one: one.version)
    chunks = distinct_chunks(wanted)
    path = Path(target) if isinstance(target, str | Path) else None
    with source_lease(store, f"export {wanted[0].version}", on_event):
        on_event(events.Phase("lookup"))
        sizes = stored_sizes(store, chunks, limits)
        if gone := chunks.keys() - sizes.keys():
            raise ChunkMissing(named(min(gone)), store.url)
        documents = _documents(store, wanted)
        archive = _Archive(store, limits, on_event)
        if path is None:
            assert not isinstance(target, str | Path)
            try:
                archive.write(target, documents, chunks)
            except BrokenPipeError:
                raise
            except OSError as error:
                raise CacheError(f"the archive cannot be written to the stream ({error.strerror})") from error
        else:
            with _whole_file(path, sum(sizes.values())) as file:
                archive.write(file, documents, chunks)
    there = [one.version for one in wanted]
    return Exported(
        versions=tuple(map(str, there)),
        refs=tuple(str(ref) for one in wanted for ref, entry in one.names.items() if entry is not None),
        file=STREAM if path is None else str(path),
        size=archive.size,
        total=sum(chunks.values()),
        chunks=len(chunks),
        originals=tuple(sorted(str(version) for one in wanted for version in one.originals - {*there})),
        seconds=time.monotonic() - begun,
        store=store.url,
    )


def _documents(store: Store, wanted: Sequence[Wanted]) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """What stands before the chunks, and what stands behind them, by key."""
    before = {FORMAT_KEY: format_file.document()}
    before |= {manifest_key(*one.version): one.whole.data for one in wanted}
    behind: dict[str, bytes] = {}
    signed = {ref: place for one in wanted for ref, place in one.signed.items()}
    for ref, entry in sorted(names for one in wanted for names in one.names.items()):
        if entry is None:
            continue
        objects = _signed(store, signed[ref], entry) if ref in signed else {}
        data = ENTRIES.encode(entry)
        behind |= objects or {ref_entry_key(RefEntryId(*ref, ref_entry_name(1, hex_of(data)[:16]))): data}
    return before, behind


def _signed(store: Store, place: EntryObjects, entry: RefEntry) -> dict[str, bytes]:
    """A signed entry of a ref as it lies in the store, and before it its signatures, by key; nothing if none fits it.

    Raises:
        FormatError: the entry was replaced since it was read.
    """
    key = ref_entry_key(place.entry)
    data = bytes(store.bucket.get(key, _MAX_ENTRY))
    if RefLog(store, Ref(*place.entry[:3])).decode(key, data) != entry:
        raise FormatError(f"{key} in {store.url} was replaced while it was read: export again, or look at it")
    digest, found = hex_of(data), dict[str, bytes]()
    # Those of other bytes are of writers who lost. More than a few do not come from keys that are being replaced: they
    # must not keep those out that are by trusted keys.
    trusted = store.trust.keys if store.trust else ()
    fitting = [each for each in place.signatures if digest.startswith(each.digest)]
    fitting.sort(key=lambda each: (each.key_id not in trusted, each))
    for name in sorted(ref_signature_key(*each) for each in fitting[:_MOST_SIGNATURES]):
        with contextlib.suppress(ObjectMissing, ObjectTooLarge):
            found[name] = bytes(store.bucket.get(name, _MAX_SIGNATURE))
    return {**found, key: data} if found else {}


class _Archive:
    """An archive that is being written.

    Attributes:
        size: bytes that were written so far.
    """

    def __init__(self, store: Store, limits: host.Limits, listen: events.Listener) -> None:
        self._store, self._limits, self._listen = store, limits, listen
        self._frames = FrameReader(store, limits, verify=True)
        self.size = 0

    def write(
        self, out: Writable, documents: tuple[Mapping[str, bytes], Mapping[str, bytes]], chunks: Mapping[str, int]
    ) -> None:
        """Write all members, and the end mark."""
        before, behind = documents
        for key, data in before.items():
            self._member(out, key, data)
        self._listen(events.Phase("export", sum(chunks.values())))
        threads = max(1, min(self._limits.requests, len(chunks)))
        buffers, turns = Pool(ReusableBuffer, threads), _Turns()

        # for_each begins the chunks in their order, so the chunk whose turn it is has a buffer.
        def write(item: tuple[int, tuple[str, int]]) -> None:
            number, (digest, size) = item
            try:
                with buffers.acquire() as memory:
                    frame = self._frames.read(ChunkRef(digest, size), memory)
                    with turns.turn(number) as is_mine:
                        if is_mine:
                            self._member(out, chunk_key(digest), frame)
            except BaseException:
                turns.give_up()
                raise
            self._listen(events.Moved(size, len(frame)))

        for_each(
            write,
            enumerate(chunks.items()),
            threads=threads,
            cost=lambda item: memory_for(item[1][1]),
            budget=self._limits.budget,
        )
        for key, data in behind.items():
            self._member(out, key, data)
        self._put(out, END)

    def _member(self, out: Writable, key: str, data: Buffer) -> None:
        for piece in (header(key, len(data)), data, padding(len(data))):
            self._put(out, piece)

    def _put(self, out: Writable, data: Buffer) -> None:
        view = memoryview(data)
        while view:
            done = out.write(view[: host.WRITE_AT_ONCE])
            self.size += done or 0
            view = view[done or 0 :]


class _Turns:
    """Threads take turns by number."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._next = 0
        self._given_up = False

    @contextlib.contextmanager
    def turn(self, number: int) -> Iterator[bool]:
        """Wait for the turn of a number; True, unless a number before it gave up."""
        with self._change:
            self._change.wait_for(lambda: self._given_up or self._next == number)
            is_mine = not self._given_up
        yield is_mine
        with self._change:
            self._next += is_mine
            self._change.notify_all()

    def give_up(self) -> None:
        """Wake all waiters: a number failed, so later ones will never get their turn."""
        with self._change:
            self._given_up = True
            self._change.notify_all()


@contextlib.contextmanager
def _whole_file(path: Path, size: int) -> Iterator[Writable]:
    """A file that gets its name when the block ends without an error, and is on the disk by then.

    Args:
        path: of the file.
        size: the bytes that it takes at least; raises DiskFull if they do not fit.
    """
    if path.is_dir():
        raise CacheError(f"{path} is a directory: name the archive's file with -o")
    if path.exists() and not path.is_file():  # such as /dev/null, whose place the archive would take
        raise CacheError(f"{path} is a device or a pipe, which no file may replace: write to it with -o - > {path}")
    if path.is_symlink():
        path = Path(os.path.realpath(path))  # the link stays, and names the archive
    private = path.with_name(f".{os.urandom(8).hex()}.cas.tmp")  # not longer than usual where the name is long
    try:
        with open(private, "xb", buffering=0) as file:
            if (free := free_bytes(path.parent)) < size:
                raise DiskFull(f"{path} takes {size:,} bytes, and {free:,} are free there: choose another with -o")
            yield file
            sync(file.fileno())
        private.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            sync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise DiskFull(f"{path}: the disk is full or its quota used up: choose another with -o") from error
        raise CacheError(f"{path} cannot be written ({error.strerror}): choose another with -o") from error
    finally:
        with contextlib.suppress(OSError):  # the error that is on its way tells more
            private.unlink(missing_ok=True)
