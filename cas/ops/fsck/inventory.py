"""What is to be checked: refs and manifests, each of them read, and the chunks that they need."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterable, Iterator

from cas import events, refs
from cas.bucket import Entry
from cas.config import Limits
from cas.errors import FormatError, IntegrityError, NotFoundError, ObjectMissing
from cas.formats.manifest import Manifest, check_name
from cas.ops.fsck.damage import Damage, Trouble, of_document
from cas.parallel import for_each
from cas.refs import reflog
from cas.refs.reflog import RefLog
from cas.store import lookup
from cas.store.layout import VersionId
from cas.store.store import Store

# A chunk's plain size, at most 64 MiB, and above it the number of a version that needs it.
_SIZE_BITS = 32
_SIZE = (1 << _SIZE_BITS) - 1

Recover = Callable[[VersionId], Manifest | None]


class Inventory:
    """What a scope consists of.

    refs, versions: what was read. named: what each version is named by. damage: refs that cannot be read, or name
    nothing. troubles: manifests that cannot be read. recovered: those of them that a repair can bring back. orphans:
    stored bytes of chunks that no version needs, by digest (32 bytes). listed: whether the store's chunks were.
    """

    def __init__(self, store: Store, scope: str | None, limits: Limits, recover: Recover) -> None:
        """scope: a reference, the bare name of a model for all its versions, or None for the whole store.

        recover: gives what another store has under the name of a manifest that cannot be read.
        """
        self._store, self._scope, self._limits, self._recover = store, scope, limits, recover
        self._guard = threading.Lock()
        self._needs: dict[bytes, int] = {}
        self.refs = 0
        self.versions: list[VersionId] = []
        self.named: dict[VersionId, str] = {}
        self.damage: list[Damage] = []
        self.troubles: dict[VersionId, Trouble] = {}
        self.recovered: set[VersionId] = set()
        self.orphans: dict[bytes, int] = {}
        self.absent: set[bytes] = set()

    def read(self, before: Collection[str], listen: events.Listener) -> int:
        """Reads refs and manifests; returns how many of `versions` were among `before` (64 hex), which come first.

        Raises InputError for a scope that is none, NotFoundError for one that is not in the store.
        """
        listen(events.Phase("resolve"))
        found = sorted(self._found())
        known = [version for version in found if version.digest in before]
        self._read_all(known)
        first = len(self.versions)
        self._read_all([version for version in found if version.digest not in before])
        return first

    def list_chunks(self, listen: events.Listener) -> None:
        """Asks which chunks are there: the needed ones go into `absent` else, the others into `orphans`.

        Called after `read`, as a publisher writes chunks first: what a manifest names was there before it.
        """
        listen(events.Phase("lookup"))
        self.absent = set(self._needs)
        if self._scope is not None:
            sizes = {digest.hex(): size & _SIZE for digest, size in self._needs.items()}
            self.absent -= set(map(bytes.fromhex, lookup.stored_chunks(self._store, sizes, self._limits)))
            return

        def visit(name: str, entry: Entry) -> None:
            digest = bytes.fromhex(name)
            self.absent.discard(digest)
            if digest not in self._needs:
                self.orphans[digest] = entry.size

        lookup.list_chunks(self._store, visit, self._limits)

    @property
    def needed(self) -> Collection[bytes]:
        """Digests (32 bytes) of the chunks that versions need."""
        return self._needs.keys()

    def size(self, digest: bytes) -> int | None:
        """Plain bytes of a chunk, None for one that no version needs."""
        packed = self._needs.get(digest)
        return None if packed is None else packed & _SIZE

    def version(self, digest: bytes) -> int | None:
        """The first version that needs a chunk, as an index into `versions`."""
        packed = self._needs.get(digest)
        return None if packed is None else packed >> _SIZE_BITS

    def _found(self) -> set[VersionId]:
        """Every version in the scope, whether it can be read or not; refs are read on the way."""
        if self._scope is None:
            self._read_refs(reflog.logs(self._store))
            return self._store.list_manifests().keys() | self.named.keys()
        if ":" in self._scope or "@" in self._scope:
            return self._one(self._scope)
        model = check_name(self._scope, "model")
        pins = [log for log in reflog.logs(self._store, "pins") if log.ref.model == model]
        self._read_refs([*reflog.logs(self._store, "tags", model), *pins])
        found = self._store.list_manifests(model).keys() | self.named.keys()
        if not found and not self.damage:
            known = ", ".join(self._store.models()[:8]) or "none"
            raise NotFoundError(f"model {model} is not in {self._store.url}; its models are: {known}")
        return found

    def _one(self, text: str) -> set[VersionId]:
        reference = refs.parse_reference(text)
        if reference.digest is None:
            self._read_refs([refs.log_of(self._store, reference)])
            if not self.named and not self.damage:
                self._name(text, VersionId(reference.model, refs.resolve(self._store, reference).digest))
            return set(self.named)
        digest = reference.digest
        if len(digest) < 64:
            digest = self._store.find_version(reference.model, digest)
        with contextlib.suppress(IntegrityError, FormatError):  # told later; what is not there at all is a wrong call
            self._store.get_manifest(reference.model, digest)
        return {VersionId(reference.model, digest)}

    def _read_refs(self, logs: Iterable[RefLog]) -> None:
        def read(log: RefLog) -> None:
            last = None
            for name in log.names():
                try:
                    last = log.read(name)
                except (IntegrityError, FormatError) as error:
                    with self._guard:
                        kind, reason = of_document(error)
                        self.damage.append(Damage(kind, "ref", f"{log.ref}, entry {name}", str(log.ref), reason))
                    last = None
                except ObjectMissing:
                    continue  # trimmed since it was listed
            with self._guard:
                self.refs += 1
            if last is not None and last.digest is not None:
                self._name(str(log.ref), VersionId(log.ref.model, last.digest))

        given = list(logs)
        if given:
            for_each(read, given, threads=min(self._limits.requests, len(given)))

    def _name(self, ref: str, version: VersionId) -> None:
        with self._guard:
            self.named[version] = min(ref, self.named.get(version, ref))

    def _read_all(self, versions: Collection[VersionId]) -> None:
        def read(version: VersionId) -> None:
            found = self._manifest(version)
            if found is None:
                return
            chunks = [(bytes.fromhex(digest), size) for digest, size in found.chunks().items()]
            with self._guard:
                number = len(self.versions) << _SIZE_BITS
                self.versions.append(version)
                for digest, size in chunks:
                    self._needs.setdefault(digest, number | size)

        if versions:
            for_each(read, versions, threads=min(self._limits.requests, len(versions)))

    def _manifest(self, version: VersionId) -> Manifest | None:
        try:
            return self._store.get_manifest(*version)
        except NotFoundError:
            if version not in self.named:
                return None  # deleted since it was listed
            trouble = Trouble("missing", "")
        except (IntegrityError, FormatError) as error:
            trouble = of_document(error)
        found = self._recover(version)
        with self._guard:
            self.troubles[version] = trouble
            if found is not None:
                self.recovered.add(version)
        return found


def documents(store: Store, versions: Iterable[VersionId], recover: Recover) -> Iterator[tuple[VersionId, Manifest]]:
    """The manifests of `versions`, those of which cannot be read by `recover`, one after the other."""
    for version in versions:
        try:
            yield version, store.get_manifest(*version)
        except (IntegrityError, FormatError, NotFoundError):
            if (found := recover(version)) is not None:
                yield version, found
