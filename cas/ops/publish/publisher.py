"""Publish: from a Hugging Face cache or a folder to a store.

    parent         what the first tag names now: its blobs are not read, and its chunks are expected in the store
    compare        refuse other repos than those of the version that a tag names, unless they are to replace them
    gather         download what is missing; list the files and stat each
    plan           choose the files to read, and cut them into chunks
    refuse         a tag that has moved, a manifest too large for any reader, and files that no loader can load: before
                   anything is sent
    lease          taken before anything depends on what the store has: no collector deletes it from here on
    upload         read each file once: hash, look up, encode, prove and send each chunk
    ensure stored  look up the chunks that were not sent, and send those that the store has lost
    commit         write the manifest, then move each tag; neither if the tag names this content already

Chunks come before the manifest that names them, and the manifest before the tags: whatever a tag names can be restored,
at whatever moment a publish is killed. The next publish finds the chunks that were sent.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from cas import config, events, host
from cas.errors import FormatError, InputError, NotFoundError, RefMoved
from cas.formats import manifest
from cas.formats.digest import named, short
from cas.formats.manifest import Manifest, Manifest1, PlainFile, Repo, check_name
from cas.hub.gather import Gathered, gather
from cas.hub.source import Source
from cas.ops.publish.commit import commit
from cas.ops.publish.extension import check_stored, extended
from cas.ops.publish.other_repos import check_repos
from cas.ops.publish.plan import Content, FileKey, PublishPlan
from cas.ops.publish.unloadable import refuse_unloadable
from cas.ops.publish.upload import Uploader
from cas.ops.publish.version_1 import contents_in
from cas.refs.given_names import tag_to_set
from cas.refs.move import check_last_move, refuse_signer
from cas.refs.reference import DEFAULT_TAG, version_to_build_on
from cas.refs.reflog import Move, Ref
from cas.store import leases
from cas.store.layout import VersionId
from cas.store.new_store import refuse_other_things
from cas.store.store import Store, open_store

__all__ = ["Published", "Source", "publish"]


@dataclass(frozen=True, slots=True)
class Published:
    """What a publish did.

    Attributes:
        reference: `model@blake3:<64 hex>`, which names the version for ever; empty for a dry run of a new version,
            whose manifest is not made.
        total: plain bytes of the model.
        uploaded: plain bytes of the chunks that the store did not have.
        wire: bytes of the frames that were sent.
        chunks: how many distinct chunks the model has.
        uploaded_chunks: how many of them the store did not have.
        moved: the tags that name another version than before.
        seconds: wall time.
        created: whether the first tag named other content before, or nothing, or a version whose manifest was lost or
            damaged. False when somebody else moved the tag to this content meanwhile.
        dry_run: whether nothing was written to the store.
        store: URL or path of the store.
        made_store: whether this publish made the store.
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
    store: str = ""
    made_store: bool = False

    def __repr__(self) -> str:
        done = f"would upload {self.uploaded:,}" if self.dry_run else f"uploaded {self.uploaded:,}"
        moved = f", moved {', '.join(self.moved)}" if self.moved else ""
        return f"<Published {short(self.reference) or 'nothing'}: {self.total:,} bytes, {done}{moved}>"


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
    extend: bool = False,
    annotations: Mapping[str, str] = MappingProxyType({}),
    replace: bool = False,
    limits: host.Limits | None = None,
    on_event: events.Listener = events.log,
) -> Published:
    """Publish `source` as a version of `model`, and move `tags` to it.

    Args:
        model: the model's name.
        source: the repos, the folder and the plain files to publish.
        store: an open store, a URL, or None for the default.
        tags: the tags to move, as `prod` or `model:prod`; the first one names the parent.
        cache_dir: the hub cache to download into and to read from, or the directories of a cache with its HF_HOME.
        download: False to publish what is on this machine.
        force: read every file and send every chunk again, over a damaged store.
        dry_run: write nothing to the store.
        by: who moves the tags, by default user@host.
        expect: the move that must still be the first tag's last one, UNSET for none. It is not checked when the tag
            already names this content.
        extend: keep the files that the first tag's version has of the same repos at the same commits, beside these.
        annotations: what the manifest says of the version besides.
        replace: let a tag that names a version of other repos name this one. Such a tag is refused otherwise, unless
            `expect` says what it names.
        limits: threads and memory.
        on_event: told of phases, of each chunk, and of warnings.

    Raises:
        InputError: the source, a name or a pattern is not valid, a file cannot be read, the manifest is too large, or a
            tag names a version of other repos.
        StoreMissing: there is no store, and other things lie where it would be made.
        NotFoundError: the source is not on the hub, or not completely on this machine.
        IntegrityError: a blob's content is not what its name says, a file is one that no loader can load, or a frame
            does not decode to its chunk.
        CacheError: a file changed while it was published, or the cache or its disk is broken.
        StoreError: the store or the hub fails; RefMoved when somebody else moved a tag at the same moment, LeaseLost
            when a collector may have deleted chunks meanwhile.
        SignatureError: the key that signs is not trusted here: nothing was written. SignerMissing when keys are trusted
            and none signs: the version is stored, and the tags stay as they are.

    An error before the commit leaves every tag as it was. The next publish need not send again the chunks that were
    sent.
    """
    begun = time.monotonic()
    targets = _targets(model, tags)
    tags = tuple(target.second for target in targets)
    limits = limits or host.Limits()
    store = open_store(store)
    refuse_signer(store)
    store_exists = _store_exists(store)
    if not store_exists:
        refuse_other_things(store)
    made_store = False
    with leases.LazyLease(store, f"publish {model}", on_event) as lease:
        parent_digest, parent = version_to_build_on(store, targets[0], on_event)
        if expect is None:
            check_repos(source, targets, parent, store, on_event, replace=replace)
        gathered = gather(source, cache_dir, on_event, download=download)
        trusted, kept, plan = _planned(gathered, parent, force=force)
        if expect is not None and not plan.may_match_parent:
            # A tag that somebody moved ends the publish before any file is read. Content that the parent may already
            # have is read first: the tag may name it, and then nothing is moved.
            try:
                check_last_move(store, targets[0], expect)
            except RefMoved:
                # Since the tag was read, somebody may have published this very content.
                parent_digest, parent = version_to_build_on(store, targets[0], on_event)
                trusted, kept, plan = _planned(gathered, parent, force=force)
                if not plan.may_match_parent:
                    raise
        # A manifest that no reader would accept is refused before any file is read.
        base = parent if extend else None
        _manifest(model, plan.entries(placeholders=True), base, annotations)
        refuse_unloadable(plan.files_to_read)
        if not dry_run:
            made_store = store.create()
            if force or (plan.bytes_to_read and not plan.may_match_parent):
                lease.start_acquiring()
        is_condemned = (lambda digest: False) if dry_run else lease.is_condemned
        uploader = Uploader(
            store, limits, on_event, is_condemned, force=force, store_exists=store_exists, write=not dry_run
        )
        uploader.slices.update(plan.slices)
        on_event(events.Phase("hash" if dry_run or plan.may_match_parent else "upload", plan.bytes_to_read))
        uploader.upload(plan.readers, trusted.chunks().keys() if trusted else frozenset())
        new = _manifest(model, plan.entries(), base, annotations)
        digest = manifest.digest_of(new) if kept is None or parent_digest is None else parent_digest
        created = parent is None or digest != parent_digest
        uploader.ensure_stored(depended_on=created)
        if extend:
            check_stored(new.repos, uploader.slices, store, limits)
        moved: tuple[str, ...] = ()
        if not dry_run:
            on_event(events.Phase("commit"))
            version = VersionId(model, digest)
            moved = commit(
                store, version, new if created else None, tags, parent_digest, lease, on_event, by=by, expect=expect
            )
            created = created and (tags[0] in moved or digest == parent_digest)
    return Published(
        reference="" if dry_run and created else f"{model}@{named(digest)}",
        total=new.plain_size,
        uploaded=uploader.missing_bytes,
        wire=uploader.wire,
        chunks=len(uploader.slices),
        uploaded_chunks=len(uploader.missing),
        moved=moved,
        seconds=time.monotonic() - begun,
        created=created,
        dry_run=dry_run,
        store=store.url,
        made_store=made_store,
    )


class _Planned(NamedTuple):
    """What is published, as the parent makes it.

    Attributes:
        trusted: the manifest whose blobs and chunks are taken as known; None to read every file.
        kept: the contents of all files, if the parent is kept as it is.
        plan: the files to read.
    """

    trusted: Manifest | None
    kept: Mapping[FileKey, Content] | None
    plan: PublishPlan


def _planned(gathered: Gathered, parent: Manifest | None, *, force: bool) -> _Planned:
    # A forced publish reads every file, and compares it with its blob's name, whatever the parent says of it.
    trusted = None if force or parent is None or _is_cut_otherwise(parent) else parent
    # The chunks of a version 1 are cut by other rules: it is kept as it is, or all its files are cut anew.
    kept = contents_in(parent, gathered) if isinstance(parent, Manifest1) and not force else None
    return _Planned(trusted, kept, PublishPlan(gathered, trusted, kept))


def _is_cut_otherwise(parent: Manifest) -> bool:
    """Whether chunk lists of a manifest may be those of version 1: a variant takes over lists of its original."""
    return isinstance(parent, Manifest1) or parent.derived is not None


def _targets(model: str, tags: Sequence[str]) -> list[Ref]:
    """Return the tags of a model that a publish moves; raise InputError for what is no name."""
    name, colon, tag = model.partition(":")
    if colon:
        raise InputError(f"{model} is a tag, and what is published is a model: write `cas publish {name} --tag {tag}`")
    check_name(model, "model")
    return list(dict.fromkeys(tag_to_set(model, tag) for tag in tags or (DEFAULT_TAG,)))


def _store_exists(store: Store) -> bool:
    """Whether there is a store; raises FormatError when a newer version of this program made it."""
    try:
        store.check_format()
    except NotFoundError:
        return False
    return True


def _manifest(
    model: str,
    entries: tuple[tuple[Repo, ...], tuple[PlainFile, ...]],
    base: Manifest | None,
    annotations: Mapping[str, str],
) -> Manifest:
    repos = extended(entries[0], base) if base else entries[0]
    new = Manifest(model=model, repos=repos, files=entries[1], annotations=dict(annotations))
    try:
        manifest.encode(new)
    except FormatError as error:
        raise InputError(f"this cannot be published: {error}; leave files out with --include") from None
    return new
