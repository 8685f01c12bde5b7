"""The store that receives: chunks come before the manifest that names them, and the manifest before the refs.

look      is there a store, or may one be made here
begin     make it; take a lease, before anything depends on what is stored: no collector deletes it from here on
lacking   which chunks are not there; a condemned one counts as absent
send      each frame as it is
commit    look the chunks up that were not sent; write the manifest by its bytes, read it back, move the refs

Where keys are trusted and none signs here, versions are brought all the same. Refs are left as they are, and the
operation ends with the commands that move them.
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import NamedTuple

from cas import events
from cas.errors import ChunkMissing, FormatError, SignatureError, StoreMissing
from cas.formats.digest import Buffer, named
from cas.host import Limits
from cas.ops.transfer.wanted import Wanted
from cas.parallel import ReusableBuffer
from cas.refs.entry import RefEntry
from cas.refs.move import MoveOn, move
from cas.refs.names import named_versions
from cas.refs.reflog import Ref, RefLog
from cas.store.layout import VersionId
from cas.store.leases import LazyLease
from cas.store.lookup import stored_chunks
from cas.store.manifests import write_manifest
from cas.store.new_store import refuse_other_things
from cas.store.store import Store

_SHOWN = 8  # commands in one error


class Author(NamedTuple):
    """Who moves refs, and why, as their logs record it.

    Attributes:
        by: who; None for user@host.
        reason: why; None says where the version was copied from, and who moved the ref there.
    """

    by: str | None = None
    reason: str | None = None


class Receiver:
    """A store that versions are brought into; a context manager, which ends its lease.

    Attributes:
        store: the store.
        exists: whether there was a store when the context was entered.
        made_store: whether it was made.
        sent: plain sizes of the chunks that were sent, by digest (64 hex).
        wire: bytes of their frames.
        moved: the refs that name another version than before, each with that version (64 hex); None for a removed one.
        unsigned: the refs that were left as they are, as nothing signs here, likewise.
    """

    def __init__(
        self,
        store: Store,
        origin: str,
        author: Author,
        limits: Limits,
        listen: events.Listener,
        *,
        write: bool,
    ) -> None:
        """Ask nothing yet.

        Args:
            store: where versions are brought.
            origin: the store or archive that they are brought from.
            author: who moves refs, and why.
            limits: how many requests are made at once.
            listen: is told of phases and warnings.
            write: False for a dry run.
        """
        self.store, self._origin, self._author = store, origin, author
        self._limits, self._listen, self._write = limits, listen, write
        self._lease = LazyLease(store, f"copy from {origin}", listen)
        self._counting = threading.Lock()
        self.exists = self.made_store = False
        self.sent: dict[str, int] = {}
        self.wire = 0
        self.moved: list[tuple[Ref, str | None]] = []
        self.unsigned: list[tuple[Ref, str | None]] = []

    def __enter__(self) -> Receiver:
        """Look whether there is a store; raise StoreMissing if other things lie where one would be made."""
        try:
            self.store.check_format()
            self.exists = True
        except StoreMissing:
            refuse_other_things(self.store)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lease.__exit__()

    def begin(self) -> None:
        """Make the store unless it is there, and hold a lease from here on; nothing in a dry run.

        Raises:
            SignatureError: the key that signs here is none of those that are trusted; nothing was written.
        """
        if self._write:
            if self.store.trust is not None:
                from cas.refs.signatures import refuse_foreign_signer

                refuse_foreign_signer(self.store)
            self.made_store |= self.store.create()
            if self._lease.start_acquiring():
                self._lease.check()  # waits until it is acquired

    def lacking(self, chunks: Mapping[str, int]) -> dict[str, int]:
        """Return those of some chunks (64 hex, with plain sizes) that the store lacks, or that are condemned."""
        wanted = {digest: size for digest, size in chunks.items() if digest not in self.sent}
        if not wanted or not (self.exists or self.made_store):
            return wanted
        found = stored_chunks(self.store, wanted, self._limits)
        return {digest: size for digest, size in wanted.items() if digest not in found or self.is_condemned(digest)}

    def is_condemned(self, digest: str) -> bool:
        """Return whether a collector has condemned a chunk (64 hex); False in a dry run, which looks at no list."""
        return self._write and self._lease.is_condemned(digest)

    def send(self, digest: str, size: int, frame: Buffer, memory: ReusableBuffer) -> int:
        """Write a frame, which lies in `memory`, and return its bytes.

        Args:
            digest: of the chunk, 64 hex.
            size: its plain bytes.
            frame: its frame.
            memory: of the frame.
        """
        wire = len(frame)
        if self._write:
            with memory.given_away(wire) as sent:
                self.store.put_frame(digest, sent, overwrite=self.is_condemned(digest))
        with self._counting:
            self.sent[digest] = size
            self.wire += wire
        return wire

    def commit(self, wanted: Wanted) -> None:
        """Write a version's manifest, and move the refs that shall name it.

        Raises:
            ChunkMissing: one of its chunks, which were sent or found before, is not there any more.
            LeaseLost: the lease was not renewed in time, so a collector may have deleted chunks.
            RefMoved: somebody else moved a ref at the same moment.
        """
        if gone := self.lacking(wanted.whole.manifest.chunks()):
            raise ChunkMissing(named(min(gone)), self.store.url)
        self._listen(events.Phase("commit"))
        self._lease.check()
        write_manifest(self.store, wanted.version, wanted.whole.data, renew=not wanted.names or not self._may_move)
        self.store.get_manifest(*wanted.version)  # one that was damaged on the way fails here, before a ref names it
        for ref, entry in wanted.names.items():
            self.move(ref, wanted.version.digest, entry)
        self._lease.check()
        if not wanted.names and not any(named_versions(self.store, wanted.version.model).of(*wanted.version)):
            self._listen(
                events.Warned(
                    f"no tag and no pin in {self.store.url} names {wanted.version}: its collector deletes it once the "
                    "grace period has passed; --tag or --pin names it"
                )
            )

    def plan(self, wanted: Wanted) -> None:
        """Note for a dry run which refs would be left as they are, as none signs where keys are trusted."""
        if not self._may_move:
            self.unsigned += [(ref, wanted.version.digest) for ref in wanted.names]

    def move(self, ref: Ref, digest: str | None, entry: RefEntry | None) -> None:
        """Move a ref to a version, or remove it; a dry run only notes it.

        Args:
            ref: the tag or pin.
            digest: the version, 64 hex; None removes the ref.
            entry: the entry that is copied, whose time is kept: it tells when the version was made. None for none.
        """
        if not self._write:
            self.moved.append((ref, digest))
            return
        if not self._may_move:
            if not self._names_already(ref, digest):
                self.unsigned.append((ref, digest))
            return
        reason = self._author.reason or f"copied from {self._origin}"
        if entry is not None and self._author.reason is None:
            reason += f", where {entry.by} moved it: {entry.reason}"
        created = entry.created if entry is not None else None
        rule = MoveOn({}, self._lease)
        moved = move(
            self.store, {ref: None}, digest, reason, self._author.by, self._listen, meanwhile=rule, created=created
        )
        self.moved += [(ref, digest) for ref in moved]

    def must_be_named(self) -> None:
        """Raise SignerMissing when refs were left as they are; it names the commands that move them.

        A dry run warns that it would be so.
        """
        if not self.unsigned:
            return
        if not self._write:
            refs = ", ".join(str(ref) for ref, _ in self.unsigned[:_SHOWN])
            self._listen(
                events.Warned(
                    f"{refs} would stay as they are in {self.store.url}, as keys are trusted here and none signs: name "
                    "one with --sign-with"
                )
            )
            return
        from cas.errors import SignerMissing

        commands = "; ".join(self._command(ref, digest) for ref, digest in self.unsigned[:_SHOWN])
        more = f"; and {len(self.unsigned) - _SHOWN} more" if len(self.unsigned) > _SHOWN else ""
        raise SignerMissing(
            f"the versions are in {self.store.url}, but no tag and no pin was moved there, as keys are trusted here "
            f"and none signs: name one with --sign-with, or go on where it is, before a collector's grace period has "
            f"passed, with {commands}{more}"
        )

    @property
    def _may_move(self) -> bool:
        """Whether refs can be moved here: where keys are trusted, a key must sign."""
        return self.store.trust is None or self.store.signer is not None

    def _names_already(self, ref: Ref, digest: str | None) -> bool:
        try:
            return RefLog(self.store, ref).current_digest() == digest
        except (FormatError, SignatureError):
            return False

    def _command(self, ref: Ref, digest: str | None) -> str:
        store = f"--store {shlex.quote(self.store.url)} --sign-with KEY"
        if digest is None:
            words = f"untag {ref}" if ref.kind == "tags" else f"unpin {ref.first} {ref.second}"
        elif ref.kind == "tags":
            words = f"sign {VersionId(ref.model, digest)} --tag {ref.second}"
        else:
            words = f"pin {ref.first} {VersionId(ref.model, digest)}"
        return f"`cas {words} {store}`"
