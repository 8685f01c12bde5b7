"""Import: bring the versions in an archive into a store, from a file or from a pipe.

    read      the archive once, from its beginning to its end; its format and its manifests come first
    lookup    as soon as chunks begin: those that the store has are passed over
    send      each other frame, decoded and hashed before it is sent as it is
    commit    at the end mark, and not before it: look up what was not sent, write the manifests, move the refs

An archive by another tar may hold its members in any order: it costs a request for each chunk that comes before the
manifests. Nothing is believed of an archive. One that is cut short names nothing, and an import that was killed finds
the chunks that were sent.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from typing import NamedTuple

from cas import events, host
from cas.errors import FormatError, IntegrityError, ManifestCorrupt, ObjectTooLarge
from cas.formats.archive import Member, members
from cas.formats.digest import Buffer, hex_of, named
from cas.formats.frame import MAX_CHUNK, Decoder, claimed_size, largest_frame
from cas.formats.manifest import MAX_MANIFEST, ChunkRef
from cas.ops.transfer.archived_refs import ArchivedRefs
from cas.ops.transfer.frames import check_content
from cas.ops.transfer.receiver import Author, Receiver
from cas.ops.transfer.result import Copied
from cas.ops.transfer.stream import ArchiveStream, Readable
from cas.ops.transfer.wanted import Naming, Wanted, check_names, distinct_chunks, missing_originals
from cas.parallel import ReusableBuffer, Workers, for_each
from cas.store import format_file, layout
from cas.store.layout import VersionId
from cas.store.manifests import whole_manifest
from cas.store.store import Store, open_store

_MAX_DOCUMENT = 64 * 1024  # bytes of format.json, and of an entry of a ref


def import_archive(
    archive: Readable,
    name: str,
    store: Store | str | None = None,
    *,
    rule: Naming = Naming(),  # noqa: B008 (immutable)
    dry_run: bool = False,
    author: Author = Author(),  # noqa: B008 (immutable)
    limits: host.Limits | None = None,
    on_event: events.Listener = events.log,
) -> Copied:
    """Bring the versions in an archive into a store, which is made if nothing is there.

    Args:
        archive: is read once, to its end.
        name: the archive's path, for messages.
        store: an open store, a URL, or None for the default.
        rule: how versions are named; by default by the tags and pins in the archive.
        dry_run: read and check the archive, and write nothing.
        author: who moves tags and pins, and why.
        limits: requests and memory.
        on_event: is told of phases, of each chunk, and of warnings.

    Raises:
        IntegrityError: the archive is cut short or damaged, or lacks chunks that the store lacks, too.
        FormatError: it is no archive of a store, or of a newer version.
        InputError: two versions would get one name.
        SignatureError: keys are trusted, and a tag or pin in the archive is not signed by one; or none signs here.
        StoreError: the store fails or refuses; RefMoved, LeaseLost as for a publish.
    """
    begun = time.monotonic()
    store, limits = open_store(store), limits or host.Limits()
    with Receiver(store, name, author, limits, on_event, write=not dry_run) as receiver:
        reading = _Import(ArchiveStream(archive, name), name, receiver, limits, on_event, rule)
        reading.run()
        wanted = reading.versions()
        reading.verify(wanted)
        reading.warn()
        if wanted:
            receiver.begin()  # an archive without chunks has not begun yet
        chunks = distinct_chunks(wanted)
        reading.must_be_whole(wanted)
        for one in () if dry_run else wanted:
            receiver.commit(one)
        receiver.must_be_named()
        originals = {version for one in wanted for version in one.originals} - {one.version for one in wanted}
        return Copied(
            versions=tuple(str(one.version) for one in wanted),
            total=sum(chunks.values()),
            copied=sum(receiver.sent.values()),
            wire=receiver.wire,
            chunks=len(chunks),
            copied_chunks=len(receiver.sent),
            moved=tuple(str(ref) for ref, _ in receiver.moved),
            removed=(),
            extra=(),
            originals=missing_originals(store if receiver.exists or receiver.made_store else None, originals),
            seconds=time.monotonic() - begun,
            source=name,
            store=store.url,
            dry_run=dry_run,
            made_store=receiver.made_store,
        )


class _Job(NamedTuple):
    """A frame that was read from the archive, with the memory that it lies in."""

    digest: str
    frame: Buffer
    memory: ReusableBuffer


class _Import:
    """One archive that is being read."""

    def __init__(
        self,
        stream: ArchiveStream,
        name: str,
        receiver: Receiver,
        limits: host.Limits,
        listen: events.Listener,
        rule: Naming,
    ) -> None:
        self._stream, self._name, self._receiver = stream, name, receiver
        self._limits, self._listen, self._rule = limits, listen, rule
        self._decoders = Workers(Decoder, limits.workers)
        self._buffers: queue.LifoQueue[ReusableBuffer] = queue.LifoQueue()
        self._wanted: dict[VersionId, Wanted] = {}
        self._refs = ArchivedRefs(name, receiver.store)
        self._sizes: dict[str, int] = {}  # plain sizes of chunks that manifests name
        self._asked = frozenset[str]()  # those of them that the store was asked for
        self._lacking = frozenset[str]()  # and does not have
        self._read: set[str] = set()
        self._has_format = False

    def run(self) -> None:
        """Read the archive to its end mark, and send the chunks that the store lacks."""
        threads = self._limits.uploads
        for _ in range(threads):
            self._buffers.put(ReusableBuffer())
        # A job holds its frame, and memory for the plain bytes is a decoder's.
        for_each(self._send, self._jobs(), threads=threads)
        self._stream.drain()
        if not self._has_format:
            raise FormatError(f"{self._name} has no {layout.FORMAT_KEY}: it is no archive of a store")

    def versions(self) -> list[Wanted]:
        """The versions in the archive, with the refs that shall name them."""
        for one in self._wanted.values():
            one.names = {}
        for ref, entry in self._refs.entries().items():
            named_so = self._wanted.get(VersionId(ref.model, entry.digest or ""))
            if named_so is not None and self._rule.keep:
                named_so.names[ref] = entry
            elif named_so is not None:
                named_so.names |= dict.fromkeys(self._rule.given(ref.model), entry)
        for one in self._wanted.values():
            for ref in self._rule.given(one.version.model):
                one.names.setdefault(ref, None)
        check_names(self._wanted.values())
        return [one for _, one in sorted(self._wanted.items())]

    def verify(self, wanted: list[Wanted]) -> None:
        """Check who signed the entries by which versions are named, where keys are trusted.

        Names that the user gives need no signature in the archive; then its entries, which nobody verified, tell
        nothing, such as a time.

        Raises:
            SignatureError: no trusted key signed the last entry of a ref that would be set.
        """
        if self._receiver.store.trust is None:
            return
        for one in wanted:
            one.names = {ref: self._refs.verified(ref) if self._rule.keep else None for ref in one.names}

    def warn(self) -> None:
        """Warn of refs that name versions which are not in the archive."""
        for ref, entry in self._refs.entries().items():
            if entry.digest is not None and VersionId(ref.model, entry.digest) not in self._wanted:
                self._listen(events.Warned(f"{ref} is left out, as {self._name} lacks its version {entry.manifest}"))

    def must_be_whole(self, wanted: list[Wanted]) -> None:
        """Raise IntegrityError if a version lacks chunks that neither the archive nor the store has."""
        for one in wanted:
            lacking = self._receiver.lacking(one.whole.manifest.chunks())
            if lacking:
                raise IntegrityError(
                    f"{self._name} lacks {len(lacking)} chunks of {one.version} ({named(min(lacking))}), and "
                    f"{self._receiver.store.url} does, too: export it again; nothing names it"
                )

    def _jobs(self) -> Iterator[_Job]:
        for member in members(self._stream.read_at, self._name):
            if digest := layout.chunk_digest(member.name):
                if self._is_lacking(digest):
                    yield self._frame(digest, member)
            elif version := layout.version_id(member.name):
                self._manifest(version, self._document(member, MAX_MANIFEST))
            elif key := layout.ref_entry(member.name):
                self._refs.add_entry(key, self._document(member, _MAX_DOCUMENT))
            elif signature := layout.ref_signature(member.name):
                if self._refs.is_wanted(signature):
                    self._refs.add_signature(signature, self._document(member, _MAX_DOCUMENT))
            elif member.name == layout.FORMAT_KEY:
                format_file.check(self._document(member, _MAX_DOCUMENT), self._name)
                self._has_format = True

    def _is_lacking(self, digest: str) -> bool:
        """Whether a chunk is to be sent. When chunks begin, the store is asked for all that the manifests name."""
        if digest in self._read:
            return False
        if not self._read:
            self._receiver.begin()
            self.versions()  # names that cannot be given end the import before anything is sent
            self._listen(events.Phase("lookup"))
            self._asked = frozenset(self._sizes)
            self._lacking = frozenset(self._receiver.lacking(self._sizes))
            self._listen(events.Phase("unpack", sum(self._sizes.values())))
        self._read.add(digest)
        lacking = self._lacking if digest in self._asked else self._receiver.lacking({digest: 1})
        if digest not in lacking:
            self._listen(events.Moved(self._sizes.get(digest, 0), source="present"))
        return digest in lacking

    def _frame(self, digest: str, member: Member) -> _Job:
        """Read a frame into memory that a worker releases."""
        limit = largest_frame(self._sizes.get(digest, MAX_CHUNK))
        if member.size > limit:
            raise ObjectTooLarge(member.name, self._name, member.size, limit)
        memory = self._buffers.get()
        frame = memory.view(member.size)
        self._stream.read_data(member, frame)
        return _Job(digest, frame, memory)

    def _send(self, job: _Job) -> None:
        try:
            size = self._decoders.run(lambda decoder: self._check(job, decoder))
            wire = self._receiver.send(job.digest, size, job.frame, job.memory)
        finally:
            self._buffers.put(job.memory)
        self._listen(events.Moved(size, wire))

    def _check(self, job: _Job, decoder: Decoder) -> int:
        """The plain bytes of a frame, which must be the chunk."""
        try:
            size = self._sizes.get(job.digest) or claimed_size(job.frame)
            check_content(ChunkRef(job.digest, size), job.frame, decoder)
        except IntegrityError as error:
            raise IntegrityError(
                f"chunk {named(job.digest)} in {self._name} is damaged ({error}): copy the archive again, or export it "
                "again; nothing names what it holds"
            ) from error
        return size

    def _manifest(self, version: VersionId, data: bytes) -> None:
        if (got := hex_of(data)) != version.digest:
            raise ManifestCorrupt(named(version.digest), named(got), self._name)
        whole = whole_manifest(data)
        if whole.model != version.model:
            raise FormatError(f"manifest {named(version.digest)} is of model {whole.model}, not {version.model}")
        self._wanted[version] = Wanted(version, whole)
        self._sizes |= whole.manifest.chunks()

    def _document(self, member: Member, limit: int) -> bytes:
        if member.size > limit:
            raise ObjectTooLarge(member.name, self._name, member.size, limit)
        data = bytearray(member.size)
        self._stream.read_data(member, memoryview(data))
        return bytes(data)
