"""Derive: from a version in a store to a variant of it in the same store, proven tensor by tensor."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from cas import config, events, refs
from cas.errors import ChunkMissing, FormatError, InputError, IntegrityError, NotFoundError, RefMoved
from cas.formats import manifest
from cas.formats.digest import named
from cas.formats.frame import Codec
from cas.formats.manifest import Manifest, check_name
from cas.ops.derive import plan, proof, variant
from cas.ops.derive.cast import TARGETS
from cas.ops.derive.cast_units import Caster
from cas.ops.derive.nearest import Verdict
from cas.ops.derive.plan import CastFile
from cas.ops.derive.variant import Chunks, Made
from cas.parallel import Pool
from cas.refs import reflog
from cas.refs.move import MoveOn, move, not_named
from cas.refs.reference import Resolved, version_to_build_on
from cas.refs.reflog import Ref
from cas.store import leases
from cas.store.layout import VersionId
from cas.store.lookup import stored_chunks
from cas.store.store import Store, open_store
from cas.version import __version__

__all__ = ["Variant", "derive"]

# Rounds of casting, should chunks vanish from the store between one and the commit.
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Variant:
    """What a derivation did.

    reference: names the variant for ever; empty for a dry run of a new one. original: the same of what it comes from.
    equivalent, proof: as the manifest has them; empty likewise. files: how many the model has. cast: names of those
    that changed. pickles: paths of weights that stay as they are, as they can only be read by running them. before,
    total: plain bytes of the original and of the variant. tensors: how many were cast and proven. overflowed: their
    finite elements that became infinite. uploaded: plain bytes sent. wire: bytes of their frames. chunks,
    uploaded_chunks: how many distinct ones, and sent. moved: tags that now name something else. seconds: wall time.
    created: False when the store had the variant.
    """

    reference: str
    original: str
    transform: str
    equivalent: str
    files: int
    cast: tuple[str, ...]
    pickles: tuple[str, ...]
    before: int
    total: int
    tensors: int
    overflowed: int
    proof: str
    uploaded: int
    wire: int
    chunks: int
    uploaded_chunks: int
    moved: tuple[str, ...]
    seconds: float
    created: bool
    dry_run: bool = False


def derive(
    reference: str,
    store: Store | str | None = None,
    *,
    cast: str,
    tags: Sequence[str],
    dry_run: bool = False,
    limits: config.Limits | None = None,
    on_event: events.Listener = events.ignore,
) -> Variant:
    """Publishes a variant of the version `reference`, its floating tensors cast, and moves `tags` to it.

    store: an open one, a URL, or None for the default. cast: `float16` or `bfloat16`. dry_run: write nothing. The bytes
    go from the store to the store; the model need not be on this machine. Raises InputError when there is nothing to
    cast or the version is itself a cast variant, NotFoundError, FormatError for a malformed safetensors file,
    IntegrityError, or StoreError; chunks sent by then need not be sent again by the next call, and no tag has moved.
    """
    begun = time.monotonic()
    transform = variant.transform_of(cast)
    names = tuple(check_name(tag, "tag") for tag in dict.fromkeys(tags))
    if not names:
        raise InputError("name at least one tag for the variant, such as fp16: it must not become `latest` unasked")
    held = open_store(store)
    original = refs.resolve(held, reference)
    variant.check_original(original)
    with leases.LazyLease(held, f"derive {original.exact}", on_event) as lease:
        job = _Derivation(held, original, transform, limits or config.Limits(), on_event, lease)
        targets = [Ref("tags", original.manifest.model, name) for name in names]
        parent, _ = version_to_build_on(held, targets[0], on_event)
        found = job.existing()
        if found is None:
            files = job.plan()
            found = None if dry_run else job.make(files, parent)
        digest, new = found or (None, None)
        moved: tuple[Ref, ...] = ()
        if digest and not dry_run:
            try:
                rule = MoveOn({targets[0]: parent})
                moved = move(held, dict.fromkeys(targets), digest, "derive", None, on_event, meanwhile=rule)
            except RefMoved as error:
                on_event(not_named(VersionId(original.manifest.model, digest), error))
                raise
            lease.check()
        tags_moved = tuple(ref.second for ref in moved)
        return job.told(digest, new, tags_moved, begun, dry_run=dry_run)


class _Derivation:
    """One derivation under way."""

    def __init__(
        self,
        store: Store,
        original: Resolved,
        transform: str,
        limits: config.Limits,
        listen: events.Listener,
        lease: leases.LazyLease,
    ) -> None:
        self._store, self._original, self._limits, self._listen = store, original, limits, listen
        self._lease = lease
        self._transform = transform
        self._cast = transform.removeprefix(variant.CAST)
        self._codecs = Pool(Codec, limits.workers)
        self._caster = Caster(store, self._codecs, limits, listen, lease.is_condemned)
        self._chunks: dict[CastFile, Chunks] = {}
        self._created = False

    def existing(self) -> tuple[str, Manifest] | None:
        """The same variant as some tag of the model already names, when all its chunks are there."""
        self._listen(events.Phase("lookup"))
        for digest, found in self._tagged():
            derived = found.derived
            same = derived and (derived.parent, derived.transform) == (named(self._original.digest), self._transform)
            if same and not self._missing(found):
                return digest, found
        return None

    def plan(self) -> list[CastFile]:
        """The files that change; raises InputError when none does."""
        self._listen(events.Phase("plan"))
        self._chunks = plan.plan_files(self._store, self._original.manifest, TARGETS[self._cast], self._codecs)
        if not self._chunks:
            carried = variant.pickles(self._original.manifest)
            why = f" ({carried[0]} is a pickle, which is not looked into)" if carried else ""
            raise InputError(
                f"{self._original.reference} has no safetensors file with floating tensors to cast to {self._cast}{why}"
            )
        return list(self._chunks)

    def make(self, files: list[CastFile], parent: str | None) -> tuple[str, Manifest]:
        """Casts and stores the files, and then the manifest; returns it with its digest."""
        self._lease.start_acquiring()
        carried = self._carried()
        if gone := carried.keys() - stored_chunks(self._store, carried, self._limits):
            raise ChunkMissing(named(min(gone)), self._store.url)
        for _ in range(_ROUNDS):
            self._listen(events.Phase("cast", sum(file.original.size for file in files)))
            new = self._manifest(files, parent)
            missing = self._missing(new)
            if not missing:
                break
        else:
            raise ChunkMissing(named(min(missing)), self._store.url)
        self._listen(events.Phase("commit"))
        self._lease.check()
        for digest, found in self._tagged():
            if found.content() == new.content():
                return digest, found
        digest = self._store.put_manifest(new)
        # A damaged one of the same name would have stayed; no tag may ever name it.
        self._store.get_manifest(new.model, digest)
        self._created = True
        return digest, new

    def _manifest(self, files: list[CastFile], parent: str | None) -> Manifest:
        done = self._caster.run(files)
        made = {self._chunks[ledger.file]: Made(ledger.file.size, ledger.blob, chunks) for ledger, chunks in done}
        ledgers = [ledger for ledger, _ in done]
        verdict = sum((ledger.verdict for ledger in ledgers), Verdict())
        if verdict.overflowed:
            self._listen(
                events.Warned(
                    f"{verdict.overflowed} elements are too large for {self._cast} and became infinite"
                    + ("; bfloat16 has the range of float32" if self._cast == "float16" else "")
                )
            )
        known = variant.noted(sum(file.cast_tensors for file in files), proof.digest(ledgers), verdict)
        original = self._original.manifest
        new = Manifest(
            model=original.model,
            created=manifest.now(),
            created_by=f"cas {__version__}",
            parent=named(parent) if parent else None,
            repos=variant.repos(original, self._transform, made),
            files=variant.plain_files(original, made),
            derived=variant.derived_from(self._original.digest, self._transform, verdict),
            annotations={**original.annotations, **known},
        )
        try:
            manifest.encode(new)
        except FormatError as error:
            raise InputError(f"the variant cannot be published: {error}") from None
        return new

    def told(
        self, digest: str | None, new: Manifest | None, moved: tuple[str, ...], begun: float, *, dry_run: bool
    ) -> Variant:
        """The result for the caller."""
        original, caster = self._original.manifest, self._caster
        sizes = {chunks: file.size for file, chunks in self._chunks.items()}
        if new is not None:
            pairs = zip(original.all_files(), new.all_files(), strict=False)
            sizes = {old.chunks: now.size for old, now in pairs if old.chunks != now.chunks}
        files = plan.named_files(original)
        known = variant.record(new) if new else None
        return Variant(
            reference=f"{original.model}@{named(digest)}" if digest else "",
            original=self._original.exact,
            transform=self._transform,
            equivalent=known.equivalent if known else "",
            files=len(files),
            cast=tuple(name for name, file in files if variant.changes(file, sizes)),
            pickles=variant.pickles(original),
            before=original.plain_size,
            total=sum(sizes[file.chunks] if variant.changes(file, sizes) else file.size for _, file in files),
            tensors=known.tensors if known else sum(file.cast_tensors for file in self._chunks),
            overflowed=known.overflowed if known else 0,
            proof=known.proof if known else "",
            uploaded=caster.uploaded,
            wire=caster.wire,
            chunks=len(new.chunks()) if new else 0,
            uploaded_chunks=caster.uploaded_chunks,
            moved=moved,
            seconds=time.monotonic() - begun,
            created=self._created or (dry_run and new is None),
            dry_run=dry_run,
        )

    def _tagged(self) -> list[tuple[str, Manifest]]:
        """The variants that the model's tags name."""
        model = self._original.manifest.model
        digests = {digest for digest in reflog.tags(self._store, model).get(model, {}).values() if digest}
        found = ((digest, self._readable(digest)) for digest in sorted(digests))
        return [(digest, version) for digest, version in found if version is not None and version.derived is not None]

    def _readable(self, digest: str) -> Manifest | None:
        try:
            return self._store.get_manifest(self._original.manifest.model, digest)
        except (NotFoundError, IntegrityError, FormatError):
            return None

    def _carried(self) -> dict[str, int]:
        """Chunks of files that stay as they are."""
        changing = set(self._chunks.values())
        stay = (file for file in self._original.manifest.all_files() if not variant.changes(file, changing))
        return {chunk.digest: chunk.size for file in stay for chunk in file.chunks}

    def _missing(self, found: Manifest) -> set[str]:
        chunks = found.chunks()
        return chunks.keys() - stored_chunks(self._store, chunks, self._limits)
