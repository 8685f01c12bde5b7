"""What a run of the collector did."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Collected:
    """What a run did; for a dry run, what it would do.

    Attributes:
        kept_versions: versions that are retained.
        kept_chunks: chunks that those need.
        swept_versions: versions deleted, which an earlier run condemned.
        swept_chunks: chunks deleted, which an earlier run condemned.
        freed: stored bytes of all that was deleted, without superseded versions.
        condemned_versions: versions that this run condemned.
        condemned_chunks: chunks that this run condemned.
        condemned: stored bytes of what this run condemned.
        waiting: unreferenced chunks that earlier runs condemned and no run has deleted yet.
        due: when the first of what is condemned may be swept, as a timestamp; empty when nothing is condemned.
        superseded_versions: stored versions of overwritten and deleted objects that were erased.
        superseded: their bytes.
        cleared: old entries of refs, leases, receipts and uploads that were deleted.
        put_off: why nothing was swept though something was due; empty when there is no such reason.
        seconds: wall time.
        dry_run: whether nothing was changed.
    """

    kept_versions: int
    kept_chunks: int
    swept_versions: int
    swept_chunks: int
    freed: int
    condemned_versions: int
    condemned_chunks: int
    condemned: int
    waiting: int
    due: str
    superseded_versions: int
    superseded: int
    cleared: int
    put_off: str
    seconds: float
    dry_run: bool = False
