"""The check of the cache that CAS_READ_URL names: whether it gives what the bucket holds.

    1. find a manifest in the bucket
    2. read it through the cache, and the largest of its chunks: digests say whether they are right
    3. read from the bucket what failed: what is missing or damaged there, too, is no fault of the cache

Restores read the bucket where the cache fails, so a cache that is of no use is a warning.
"""

from __future__ import annotations

import time

from cas.bucket import RetryPolicy, open_bucket
from cas.errors import AccessDenied, CasError, FormatError, IntegrityError, NotFoundError, ObjectMissing
from cas.formats.manifest import ChunkRef
from cas.ops.doctor.findings import Result, failed, ok, result_of, skipped, warning
from cas.ops.doctor.store_checks import StoreExamination
from cas.parallel import ReusableBuffer
from cas.store import layout
from cas.store.cdn import VARIABLE
from cas.store.layout import VersionId
from cas.store.store import Store

_FOR_ITS_ORIGIN = (
    "the cache's origin must be able to read chunks/ and manifests/ (docs/operations/set-up.md, Through a CDN)"
)
_INSTEAD = "restores read the bucket instead"


def examine_cdn(examination: StoreExamination, url: str, policy: RetryPolicy) -> None:
    """Note whether the cache gives a manifest and a chunk as the bucket holds them.

    Args:
        examination: of the store.
        url: of the store's root behind the cache.
        policy: when requests to it are given up.
    """
    examination.note("cdn", result_of(lambda: _look(examination, Store(open_bucket(url, policy)))))


def _look(examination: StoreExamination, cache: Store) -> Result:
    version = _stored_version(examination.store) if examination.rights.get("list") else None
    if version is None:
        return _without_version(cache)
    begun = time.monotonic()
    try:
        what = _read(cache, version)
    except CasError as error:
        try:
            _read(examination.store, version)
        except CasError as in_bucket:
            return failed(str(in_bucket), "`cas fsck` says what else is damaged or missing", in_bucket.exit_code)
        return _judged(error, cache.url)
    return ok(f"{what} came through it as the bucket has them, in {1000 * (time.monotonic() - begun):.0f} ms")


def _stored_version(store: Store) -> VersionId | None:
    """The first version that the bucket lists; None where it has none."""
    for page in store.bucket.pages(layout.MANIFESTS):
        for entry in page:
            if version := layout.version_id(entry.key):
                return version
    return None


def _read(store: Store, version: VersionId) -> str:
    """Read a manifest and its largest chunk as a restore does; return what was read, in words."""
    from cas.formats.frame import Decoder

    chunks = store.get_manifest(*version).chunks()
    if not chunks:
        return "a manifest"
    chunk = ChunkRef(*max(chunks.items(), key=lambda item: item[1]))
    store.open_frame(chunk, store.get_frame(chunk, ReusableBuffer()), Decoder())
    return f"a manifest and a chunk of {chunk.size / 1e6:.1f} MB"


def _without_version(cache: Store) -> Result:
    """Say whether the cache answers at all, asked for an object that it need not show."""
    try:
        cache.bucket.get(layout.FORMAT_KEY, 64 * 1024)
    except (ObjectMissing, AccessDenied):
        pass
    except CasError as error:
        return _judged(error, cache.url)
    return skipped("it answers; no version was found in the bucket that could be read through it")


def _judged(error: CasError, url: str) -> Result:
    """The result for a cache that fails where the bucket does not. url: of the cache."""
    if isinstance(error, NotFoundError):
        advice = f"{VARIABLE} must name the store's root behind the cache; {_FOR_ITS_ORIGIN}"
        return warning(f"{url} has not what the bucket has: {_INSTEAD}", advice)
    if isinstance(error, IntegrityError | FormatError):
        advice = "purge the cache, and see to it that it changes no body (compression, optimisers, pages of its own)"
        return warning(f"{url} gives other bytes than the bucket: {_INSTEAD}", advice)
    if isinstance(error, AccessDenied):
        return warning(f"{error}: {_INSTEAD}", _FOR_ITS_ORIGIN)
    return warning(f"{error}: {_INSTEAD}", f"check {VARIABLE}, and what stands between here and the cache")
