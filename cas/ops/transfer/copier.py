"""Copy: versions from one store to another, with the tags and pins that name them.

    resolve   what each reference names in the source: its manifest, verified
    leases    one in the destination, and one in the source where this key may write it: nothing that is being copied
              is swept on either side
    for each version:
    lookup    which of its chunks the destination lacks
    transfer  fetch those frames and send them as they are: nothing is decoded, unless `verify` asks for it
    commit    look up again what was not sent; write the manifest by its bytes; move the tags and pins, last

A version keeps its id, because its manifest keeps its bytes. A copy that was killed has named nothing incomplete, and
the next one finds the chunks that were sent. Versions are copied one after the other, so those before an error are
complete and named.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence

from cas import config, events, host
from cas.errors import InputError
from cas.formats.manifest import ChunkRef
from cas.ops.transfer.frames import FrameReader, memory_for
from cas.ops.transfer.receiver import Author, Receiver
from cas.ops.transfer.result import Copied
from cas.ops.transfer.source_lease import source_lease
from cas.ops.transfer.wanted import Naming, Wanted, missing_originals, wanted_versions
from cas.parallel import Pool, ReusableBuffer, for_each
from cas.refs.reflog import Ref
from cas.store.layout import VersionId
from cas.store.signing import NAME, name_setting
from cas.store.store import Store, open_store


def copy(
    references: Sequence[str],
    destination: Store | str,
    store: Store | str | None = None,
    *,
    rule: Naming = Naming(),  # noqa: B008 (immutable)
    verify: bool = False,
    dry_run: bool = False,
    author: Author = Author(),  # noqa: B008 (immutable)
    limits: host.Limits | None = None,
    on_event: events.Listener = events.log,
) -> Copied:
    """Copy versions to another store, which is made if nothing is there.

    Args:
        references: name the versions in `store`; a tag or pin is set in the destination, too, as `rule` says.
        destination: an open store or a URL.
        store: where the versions are: an open store, a URL, or None for the default.
        rule: how the versions are named in the destination.
        verify: decode and hash every chunk on its way. Else whoever restores it does, and `fsck` there.
        dry_run: write nothing.
        author: who moves tags and pins, and why.
        limits: requests and memory.
        on_event: is told of phases, of each chunk, and of warnings.

    Raises:
        InputError: both stores are one, or two versions would get one name.
        NotFoundError: the source lacks a version, or a chunk of it; or there is something else than a store at the
            destination.
        IntegrityError: a frame in the source is damaged.
        SignatureError: keys are trusted, and none of them signed what a tag or pin names in the source; or none signs
            here (SignerMissing): then the versions are in the destination, and its tags and pins are as they were.
        StoreError: a store fails or refuses; RefMoved, LeaseLost as for a publish.
    """
    begun = time.monotonic()
    source, target = open_pair(store, destination)
    limits = limits or host.Limits()
    on_event(events.Phase("resolve"))
    wanted = wanted_versions(source, references, rule, on_event)
    with Copying(source, target, author, limits, on_event, verify=verify, write=not dry_run) as copying:
        for one in wanted:
            copying.bring(one)
        copying.receiver.must_be_named()
        return copying.result(begun)


def open_pair(store: Store | str | None, destination: Store | str) -> tuple[Store, Store]:
    """Return the open source and destination.

    Raises:
        InputError: they are one store; or signatures count, and both would be signed under one name.
    """
    source, target = open_store(store), open_store(destination)
    if source.where == target.where:
        raise InputError(f"{target.where} is the store that is copied from: name another destination")
    if (source.trust is not None or target.signer is not None) and source.name == target.name:
        who = f"{NAME} calls" if config.is_set(NAME) else "signatures call"
        names = name_setting(source.url, source.name), name_setting(target.url, "<another name>")
        raise InputError(
            f"{who} both {source.url} and {target.url} {source.name}, so that what is signed for one would count in "
            f"the other: write {NAME}={','.join(names)}"
        )
    source.check_format()
    return source, target


class Copying:
    """A copy that is under way; a context manager, which holds the leases on both sides.

    Attributes:
        receiver: the destination.
    """

    def __init__(
        self,
        source: Store,
        target: Store,
        author: Author,
        limits: host.Limits,
        listen: events.Listener,
        *,
        verify: bool,
        write: bool,
    ) -> None:
        """Ask nothing yet; `write` is False for a dry run, and the rest as for `copy`."""
        self._source, self._limits, self._listen, self._write = source, limits, listen, write
        self._frames = FrameReader(source, limits, verify=verify)
        self._stack, self._begun = contextlib.ExitStack(), False
        self._chunks: dict[str, int] = {}
        self._lacked: dict[str, int] = {}
        self._versions: list[VersionId] = []
        self._originals: set[VersionId] = set()
        self.receiver = Receiver(target, source.url, author, limits, listen, write=write)

    def __enter__(self) -> Copying:
        self._stack.enter_context(self.receiver)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def begin(self) -> None:
        """Make the destination's store, if need be, and take both leases; only once, and not in a dry run."""
        if self._write and not self._begun:
            self._begun = True
            self.receiver.begin()
            purpose = f"copy to {self.receiver.store.url}"
            self._stack.enter_context(source_lease(self._source, purpose, self._listen))

    def bring(self, wanted: Wanted) -> None:
        """Bring one version to the destination, and name it there."""
        self.begin()
        manifest = wanted.whole.manifest
        self._listen(events.Resolved(str(wanted.version), manifest.plain_size))
        chunks = manifest.chunks()
        self._listen(events.Phase("lookup"))
        lacking = self.receiver.lacking(chunks)
        self._chunks |= chunks
        self._lacked |= lacking
        self._versions.append(wanted.version)
        self._originals |= wanted.originals
        if self._write:
            self._transfer(lacking)
            self.receiver.commit(wanted)
        else:
            self.receiver.plan(wanted)

    def result(self, begun: float, *, extra: Iterable[Ref] = ()) -> Copied:
        """Return what was done.

        Args:
            begun: when the operation began, by the monotonic clock.
            extra: refs that only the destination has.
        """
        receiver = self.receiver
        target = receiver.store if receiver.exists or receiver.made_store else None
        return Copied(
            versions=tuple(map(str, self._versions)),
            total=sum(self._chunks.values()),
            copied=sum(self._lacked.values()),
            wire=receiver.wire,
            chunks=len(self._chunks),
            copied_chunks=len(self._lacked),
            moved=tuple(str(ref) for ref, digest in receiver.moved if digest is not None),
            removed=tuple(str(ref) for ref, digest in receiver.moved if digest is None),
            extra=tuple(map(str, extra)),
            originals=missing_originals(target, self._originals - set(self._versions)),
            seconds=time.monotonic() - begun,
            source=self._source.url,
            store=receiver.store.url,
            dry_run=not self._write,
            made_store=receiver.made_store,
        )

    def _transfer(self, chunks: Mapping[str, int]) -> None:
        """Send frames as they are stored in the source."""
        if not chunks:
            return
        self._listen(events.Phase("transfer", sum(chunks.values())))
        threads = min(self._limits.requests, len(chunks))
        buffers = Pool(ReusableBuffer, threads)

        def send(chunk: tuple[str, int]) -> None:
            digest, size = chunk
            with buffers.acquire() as memory:
                frame = self._frames.read(ChunkRef(digest, size), memory)
                wire = self.receiver.send(digest, size, frame, memory)
            self._listen(events.Moved(size, wire))

        for_each(
            send,
            chunks.items(),
            threads=threads,
            cost=lambda chunk: memory_for(chunk[1]),
            budget=self._limits.budget,
        )
