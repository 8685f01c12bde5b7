"""Derives a variant of a version in a store, in the same store, and proves it tensor by tensor.

The order of `derive`:

1. resolve the original, and refuse a cast variant: rounding twice is not rounding once;
2. look for the same variant among those that the model's tags name: a second run casts nothing;
3. plan: read the headers of the safetensors files, and lay out the new files;
4. take a lease, and check that the chunks of unchanged files are stored. From here on the variant depends on them;
5. cast: unit by unit read, cast, compare with the original, store. Nothing is stored that is not proven;
6. look up all chunks of the variant, and cast again if a chunk is gone;
7. write the manifest, then move the tags: a tag never names an incomplete version. Last, check that the lease was live
   all the time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from cas import events, host, refs
from cas.errors import ChunkMissing, FormatError, InputError, IntegrityError, NotFoundError, RefMoved
from cas.formats import manifest
from cas.formats.digest import named
from cas.formats.frame import Codec
from cas.formats.manifest import Derived, Manifest
from cas.ops.derive import plan, proof, variant
from cas.ops.derive.cast import TARGETS
from cas.ops.derive.cast_units import Caster
from cas.ops.derive.nearest import Verdict
from cas.ops.derive.plan import CastFile
from cas.ops.derive.result import Variant
from cas.ops.derive.variant import Chunks, NewContent
from cas.parallel import Pool
from cas.refs import reflog
from cas.refs.entry import DERIVE
from cas.refs.given_names import tag_to_set
from cas.refs.move import MoveOn, move, not_named, refuse_signer
from cas.refs.reference import Resolved, version_to_build_on
from cas.refs.reflog import Ref
from cas.store import leases
from cas.store.layout import VersionId
from cas.store.lookup import stored_chunks
from cas.store.store import Store, open_store

__all__ = ["Variant", "derive"]

# How often the files are cast when chunks vanish from the store before the commit.
_ROUNDS = 3


def derive(
    reference: str,
    store: Store | str | None = None,
    *,
    cast: str,
    tags: Sequence[str],
    dry_run: bool = False,
    limits: host.Limits | None = None,
    on_event: events.Listener = events.log,
) -> Variant:
    """Publish a variant of a version, in which the floating tensors are cast, and move tags to it.

    The bytes go from the store to the store: the model need not be on this machine. After an error no tag has moved,
    and the next call need not send again the chunks that were sent.

    Args:
        reference: names the original version.
        store: an open store, its URL, or None for the default.
        cast: `float16` or `bfloat16`.
        tags: the tags to move to the variant, at least one, as `fp16` or `model:fp16`.
        dry_run: write nothing.
        limits: how much memory and how many requests to use.
        on_event: is told of phases, of bytes that were cast, and of warnings.

    Raises:
        InputError: there is nothing to cast, or the version is itself a cast variant.
        NotFoundError: the version, or a chunk of it, is not in the store.
        FormatError: a safetensors file is malformed.
        IntegrityError: a chunk is damaged, or a cast element is not the nearest to its original.
        StoreError: the store failed; RefMoved when somebody else moved a tag at the same moment.
        SignatureError: the original is not signed by a trusted key, or the key that signs is none. SignerMissing when
            none signs: the variant is stored, and the tags stay as they are.
    """
    begun = time.monotonic()
    transform = variant.transform_of(cast)
    if not tags:
        raise InputError("name at least one tag for the variant, such as fp16: it must not become `latest` unasked")
    store = open_store(store)
    refuse_signer(store)
    original = refs.resolve(store, reference, listen=on_event)
    targets = list(dict.fromkeys(tag_to_set(original.manifest.model, tag) for tag in tags))
    variant.check_original(original)
    # A version 1 has its repos in its publisher's order.
    original = replace(original, manifest=manifest.ordered(original.manifest))
    with leases.LazyLease(store, f"derive {original.exact}", on_event) as lease:
        job = _Derivation(store, original, transform, limits or host.Limits(), on_event, lease)
        parent, _ = version_to_build_on(store, targets[0], on_event)
        found = job.existing()
        if found is None:
            files = job.plan()
            found = None if dry_run else job.make(files)
        digest, new = found or (None, None)
        moved: tuple[Ref, ...] = ()
        if digest and not dry_run:
            try:
                rule = MoveOn({targets[0]: parent}, lease)
                moved = move(store, dict.fromkeys(targets), digest, DERIVE, None, on_event, meanwhile=rule)
            except RefMoved as error:
                on_event(not_named(VersionId(original.manifest.model, digest), error))
                raise
            lease.check()
            job.created = job.created and (targets[0] in moved or digest == parent)
        tags_moved = tuple(ref.second for ref in moved)
        return job.result(digest, new, tags_moved, begun, dry_run=dry_run)


class _Derivation:
    """One derivation that is under way.

    Attributes:
        created: whether it made a variant that no tag of the model named.
    """

    def __init__(
        self,
        store: Store,
        original: Resolved,
        transform: str,
        limits: host.Limits,
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
        self._tagged_before: set[str] = set()  # digests (64 hex) of the variants that tags named at the beginning
        self.created = False

    def existing(self) -> tuple[str, Manifest] | None:
        """Return the same variant when a tag of the model names it and the store holds all its chunks."""
        self._listen(events.Phase("lookup"))
        tagged = self._tagged()
        self._tagged_before = {digest for digest, _ in tagged}
        for digest, found in tagged:
            derived = found.derived
            same = derived and (derived.parent, derived.transform) == (named(self._original.digest), self._transform)
            if same and not self._missing(found):
                return digest, found
        return None

    def plan(self) -> list[CastFile]:
        """Return the files that change; raise InputError when none does."""
        self._listen(events.Phase("plan"))
        self._chunks = plan.plan_files(self._store, self._original.manifest, TARGETS[self._cast], self._codecs)
        if not self._chunks:
            carried = variant.pickles(self._original.manifest)
            why = f" ({carried[0]} is a pickle, which is not looked into)" if carried else ""
            raise InputError(
                f"{self._original.reference} has no safetensors file with floating tensors to cast to {self._cast}{why}"
            )
        return list(self._chunks)

    def make(self, files: list[CastFile]) -> tuple[str, Manifest]:
        """Cast and store the files that change, then store the manifest, and return it with its digest (64 hex)."""
        self._lease.start_acquiring()
        carried = self._carried()
        if gone := carried.keys() - stored_chunks(self._store, carried, self._limits):
            raise ChunkMissing(named(min(gone)), self._store.url)
        for _ in range(_ROUNDS):
            self._listen(events.Phase("cast", sum(file.original.size for file in files)))
            new = self._manifest(files)
            missing = self._missing(new)
            if not missing:
                break
        else:
            raise ChunkMissing(named(min(missing)), self._store.url)
        self._listen(events.Phase("commit"))
        self._lease.check()
        digest = self._store.put_manifest(new)
        # A manifest that was damaged on the way fails here, before a tag names it.
        self._store.get_manifest(new.model, digest)
        self.created = digest not in self._tagged_before
        return digest, new

    def _manifest(self, files: list[CastFile]) -> Manifest:
        done = self._caster.run(files)
        made = {self._chunks[ledger.file]: NewContent(ledger.file.size, ledger.blob, chunks) for ledger, chunks in done}
        ledgers = [ledger for ledger, _ in done]
        verdict = sum((ledger.verdict for ledger in ledgers), Verdict())
        if verdict.overflowed:
            self._listen(
                events.Warned(
                    f"{verdict.overflowed} elements are too large for {self._cast} and became infinite"
                    + ("; bfloat16 has the range of float32" if self._cast == "float16" else "")
                )
            )
        known = variant.proof_annotations(sum(file.cast_tensors for file in files), proof.digest(ledgers), verdict)
        original = self._original.manifest
        new = Manifest(
            model=original.model,
            repos=variant.repos(original, self._transform, made),
            files=variant.plain_files(original, made),
            derived=Derived(named(self._original.digest), self._transform),
            annotations={**original.annotations, **known},
        )
        try:
            manifest.encode(new)
        except FormatError as error:
            raise InputError(f"the variant cannot be published: {error}") from None
        return new

    def result(
        self, digest: str | None, new: Manifest | None, moved: tuple[str, ...], begun: float, *, dry_run: bool
    ) -> Variant:
        """Return what the derivation did."""
        original, caster = self._original.manifest, self._caster
        sizes = {chunks: file.size for file, chunks in self._chunks.items()}
        if new is not None:
            pairs = zip(original.all_files(), manifest.ordered(new).all_files(), strict=False)
            sizes = {old.chunks: now.size for old, now in pairs if old.chunks != now.chunks}
        files = plan.named_files(original)
        known = variant.variant_record(new) if new else None
        return Variant(
            reference=f"{original.model}@{named(digest)}" if digest else "",
            original=self._original.exact,
            transform=self._transform,
            equivalent=known.equivalent if known else "",
            files=len(files),
            cast=tuple(name for name, file in files if variant.is_cast(file, sizes)),
            pickles=variant.pickles(original),
            before=original.plain_size,
            total=sum(sizes[file.chunks] if variant.is_cast(file, sizes) else file.size for _, file in files),
            tensors=known.tensors if known else sum(file.cast_tensors for file in self._chunks),
            overflowed=known.overflowed if known else 0,
            proof=known.proof if known else "",
            uploaded=caster.uploaded,
            wire=caster.wire,
            chunks=len(new.chunks()) if new else 0,
            uploaded_chunks=caster.uploaded_chunks,
            moved=moved,
            seconds=time.monotonic() - begun,
            created=self.created or (dry_run and new is None),
            dry_run=dry_run,
        )

    def _tagged(self) -> list[tuple[str, Manifest]]:
        """The variants that the model's tags name, with their digests."""
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
        """The chunks of files that stay as they are, with their plain sizes."""
        changing = set(self._chunks.values())
        stay = (file for file in self._original.manifest.all_files() if not variant.is_cast(file, changing))
        return {chunk.digest: chunk.size for file in stay for chunk in file.chunks}

    def _missing(self, found: Manifest) -> set[str]:
        chunks = found.chunks()
        return chunks.keys() - stored_chunks(self._store, chunks, self._limits)
