"""The inventory of a check: refs and manifests, each of them read, and the chunks that they need."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Container, Iterable, Iterator
from functools import partial
from typing import TypeAlias

from cas import events, refs
from cas.bucket import Entry
from cas.errors import FormatError, IntegrityError, NotFoundError, ObjectMissing, SignatureError
from cas.formats.manifest import Manifest, check_name
from cas.host import Limits
from cas.ops.fsck.damage import DamagedObject, Defect, document_defect
from cas.ops.fsck.shard import Shard
from cas.parallel import for_each
from cas.refs import reflog
from cas.refs.grammar import Reference
from cas.refs.likely import unknown_model
from cas.refs.meaning import definite, other_meaning
from cas.refs.reflog import Ref, RefLog
from cas.store import layout, lookup
from cas.store.layout import VersionId
from cas.store.store import Store

# Memory for a chunk: its plain size, at most 64 MiB, in the low bits, and above them the index of a version that needs
# the chunk.
_SIZE_BITS = 32
_SIZE = (1 << _SIZE_BITS) - 1

RecoverManifest: TypeAlias = Callable[[VersionId], Manifest | None]
"""Returns what a repair source has in place of a manifest that cannot be read in the store, or None."""


class Inventory:
    """What a scope consists of.

    Attributes:
        refs: how many refs were read.
        versions: those whose manifests were read, from the store or from a repair source.
        named: a ref that names each version, for versions that a ref names.
        damaged_refs: refs with entries that cannot be read.
        defects: of the manifests that cannot be read in the store.
        recoverable: versions among `defects` whose manifest a repair source has.
        orphans: stored bytes of the chunks that no version needs, by digest (32 bytes).
        absent: digests (32 bytes) of needed chunks that the store lacks; empty before `list_chunks`.
        lent: the refs that another store lent, as this one lost its own.
        orphaned_signatures: how many signatures belong to no entry of a ref; known for the whole store alone.
    """

    def __init__(
        self,
        store: Store,
        scope: str | None,
        limits: Limits,
        recover: RecoverManifest,
        shard: Shard | None = None,
        lender: Store | None = None,
    ) -> None:
        """Prepare an empty inventory.

        Args:
            store: to read from.
            scope: a reference, the bare name of a model for all its versions, or None for the whole store.
            limits: how many requests are made at once.
            recover: called for each manifest that cannot be read.
            shard: the share of the chunks that is looked at; None for all.
            lender: the store whose refs are read in place of those that `store` lost; None for its own.
        """
        self._shard, self._lender = shard, lender
        self._store, self._scope, self._limits, self._recover = store, scope, limits, recover
        self._guard = threading.Lock()
        self._needs: dict[bytes, int] = {}
        self.refs = 0
        self.versions: list[VersionId] = []
        self.named: dict[VersionId, str] = {}
        self.damaged_refs: list[DamagedObject] = []
        self.defects: dict[VersionId, Defect] = {}
        self.recoverable: set[VersionId] = set()
        self.orphans: dict[bytes, int] = {}
        self.absent: set[bytes] = set()
        self.lent: list[Ref] = []
        self.orphaned_signatures = 0

    def read(self, before: Collection[str], listen: events.Listener) -> int:
        """Read refs and manifests.

        Args:
            before: digests (64 hex) of versions that an earlier sitting has read; these come first in `versions`.
            listen: is told of the phase.

        Returns:
            The index of the first version that is not among `before`.

        Raises:
            InputError: the scope is no reference and no name of a model.
            NotFoundError: the store has nothing in the scope.
        """
        listen(events.Phase("resolve"))
        found = sorted(self._versions_in_scope())
        known = [version for version in found if version.digest in before]
        self._read_manifests(known)
        first = len(self.versions)
        self._read_manifests([version for version in found if version.digest not in before])
        return first

    def list_chunks(self, listen: events.Listener) -> None:
        """List the stored chunks: note needed chunks that are missing in `absent`, and unneeded ones in `orphans`.

        Call this after `read`: a publisher writes chunks before the manifest, so the chunks of a manifest that was read
        were in the store before it.
        """
        listen(events.Phase("lookup"))
        self.absent = set(self._needs)
        if self._scope is not None:
            digests = [digest.hex() for digest in self._needs]
            self.absent -= set(map(bytes.fromhex, lookup.stored_chunks(self._store, digests, self._limits)))
            return

        def visit(name: str, entry: Entry) -> None:
            digest = bytes.fromhex(name)
            self.absent.discard(digest)
            if digest not in self._needs:
                self.orphans[digest] = entry.size

        if self._shard is None:
            lookup.list_chunks(self._store, visit, self._limits)
        else:
            lookup.list_chunk_folders(self._store, self._shard.folders, visit, self._limits)

    def leave_documents_out(self) -> None:
        """Forget the defects of refs and manifests, which another shard reports."""
        self.damaged_refs, self.defects, self.recoverable = [], {}, set()

    @property
    def needed(self) -> Collection[bytes]:
        """Digests (32 bytes) of the chunks that versions need."""
        return self._needs.keys()

    def plain_size(self, digest: bytes) -> int | None:
        """Return the plain bytes of a chunk, None for a chunk that no version needs."""
        packed = self._needs.get(digest)
        return None if packed is None else packed & _SIZE

    def version_index(self, digest: bytes) -> int | None:
        """Return the index in `versions` of the first version that needs a chunk, None if none does."""
        packed = self._needs.get(digest)
        return None if packed is None else packed >> _SIZE_BITS

    def is_whole(self, version: VersionId, lacking: Container[str]) -> bool:
        """Return whether the store has a version's manifest, and none of its chunks is among `lacking` (64 hex)."""
        manifests = [manifest for _, manifest in read_manifests(self._store, [version], lambda version: None)]
        return any(not any(digest in lacking for digest in manifest.chunks()) for manifest in manifests)

    def _versions_in_scope(self) -> set[VersionId]:
        """Read the refs in the scope; return every version in it, whether its manifest can be read or not."""
        of_refs = self._lender or self._store
        # Whoever signed an entry, what it names is checked. Only what another store lends must be signed there.
        logs = partial(reflog.logs, of_refs, is_verified=self._lender is not None)
        if self._scope is None:
            self._read_refs(logs())
            self._count_signatures()
            return self._store.list_manifests().keys() | self.named.keys()
        if set(self._scope) & set(":@/"):
            return self._version_of(self._scope, definite(of_refs, self._scope), of_refs)
        model = check_name(self._scope, "model")
        pins = [log for log in logs("pins") if log.ref.model == model]
        self._read_refs([*logs("tags", model), *pins])
        found = self._store.list_manifests(model).keys() | self.named.keys()
        if not found and not self.damaged_refs:
            if (meant := other_meaning(of_refs, model)) is None:
                raise NotFoundError(f"model {model} is not in {of_refs.url}: {unknown_model(of_refs, model)}")
            return self._version_of(model, meant, of_refs)
        return found

    def _version_of(self, text: str, reference: Reference, of_refs: Store) -> set[VersionId]:
        if reference.digest is None:
            ref = refs.log_of(of_refs, reference).ref
            self._read_refs([RefLog(of_refs, ref, is_verified=self._lender is not None)])
            if not self.named and not self.damaged_refs:
                self._name(text, VersionId(reference.model, refs.resolve(of_refs, reference).digest))
            return set(self.named)
        digest = reference.digest
        if reference.tag is not None:
            refs.resolve(of_refs, reference)  # which raises where the tag names another version
        if len(digest) < 64:
            digest = of_refs.find_version(reference.model, digest)
        # Damage is reported later. A manifest that is missing is a wrong argument, and ends the check here.
        with contextlib.suppress(IntegrityError, FormatError):
            of_refs.get_manifest(reference.model, digest)
        if self._lender is not None:
            self._name(text, VersionId(reference.model, digest))
        return {VersionId(reference.model, digest)}

    def _read_refs(self, logs: Iterable[RefLog]) -> None:
        def read(log: RefLog) -> None:
            last = None
            for name in log.names():
                try:
                    last = log.read(name)
                except (IntegrityError, FormatError) as error:
                    kind, reason = document_defect(error)
                    damaged = DamagedObject(kind, "ref", f"{log.ref}, entry {name}", str(log.ref), reason)
                    with self._guard:
                        if self._lender is None:  # else it is no damage of this store
                            self.damaged_refs.append(damaged)
                    last = None
                except SignatureError:
                    last = None  # of a ref that is lent: `name_again` tells why it is not set
                except ObjectMissing:
                    continue  # a collector trimmed the log after it was listed
            with self._guard:
                self.refs += 1
                if self._lender is not None:
                    self.lent.append(log.ref)
            if last is not None and last.digest is not None:
                self._name(str(log.ref), VersionId(log.ref.model, last.digest))

        given = list(logs)
        if given:
            for_each(read, given, threads=min(self._limits.requests, len(given)))

    def _count_signatures(self) -> None:
        keys = [entry.key for entry in self._store.bucket.list(layout.ref_folder())]
        entries = set(filter(None, map(layout.ref_entry, keys)))
        signatures = list(filter(None, map(layout.ref_signature, keys)))
        self.orphaned_signatures = sum(signature.entry not in entries for signature in signatures)

    def _name(self, ref: str, version: VersionId) -> None:
        with self._guard:
            self.named[version] = min(ref, self.named.get(version, ref))

    def _read_manifests(self, versions: Collection[VersionId]) -> None:
        def read(version: VersionId) -> None:
            found = self._read_manifest(version)
            if found is None:
                return
            chunks = [(bytes.fromhex(digest), size) for digest, size in found.chunks().items()]
            if self._shard is not None:
                chunks = [chunk for chunk in chunks if self._shard.has(chunk[0])]
            with self._guard:
                index = len(self.versions) << _SIZE_BITS
                self.versions.append(version)
                for digest, size in chunks:
                    self._needs.setdefault(digest, index | size)

        if versions:
            for_each(read, versions, threads=min(self._limits.requests, len(versions)))

    def _read_manifest(self, version: VersionId) -> Manifest | None:
        try:
            return self._store.get_manifest(*version)
        except NotFoundError:
            if version not in self.named:
                return None  # deleted since it was listed
            defect = Defect("missing", "")
        except (IntegrityError, FormatError) as error:
            defect = document_defect(error)
        found = self._recover(version)
        with self._guard:
            self.defects[version] = defect
            if found is not None:
                self.recoverable.add(version)
        return found


def read_manifests(
    store: Store, versions: Iterable[VersionId], recover: RecoverManifest
) -> Iterator[tuple[VersionId, Manifest]]:
    """Yield the manifests of versions one after the other, leaving out those that nobody can read.

    Args:
        store: to read from.
        versions: whose manifests are wanted.
        recover: called for each manifest that cannot be read in the store.
    """
    for version in versions:
        try:
            yield version, store.get_manifest(*version)
        except (IntegrityError, FormatError, NotFoundError):
            if (found := recover(version)) is not None:
                yield version, found
