"""Tries whether a server honours `If-None-Match: *`: whether it refuses to replace an object when it is told so."""

from __future__ import annotations

from cas.bucket.base import Bucket, Kind
from cas.bucket.object_requests import ObjectRequests
from cas.errors import ObjectExists, ObjectMissing, StoreError, Unsupported
from cas.formats.digest import Buffer

_TRIES = 3  # a conflict with somebody else's probe looks like an object that is there, and is not yet


def honours_condition(bucket: Bucket, requests: ObjectRequests, key: str, first: Buffer | None, second: Buffer) -> bool:
    """Return what `Bucket.probe_conditional_writes` does.

    Args:
        bucket: of the server.
        requests: those of the bucket.
        key: as there, like the two that follow.
        first: what is written at first; None where an object is there.
        second: what must not replace it.
    """
    try:
        if first is not None and not _makes(bucket, requests, key, first, len(second)):
            return False
        return not _creates(requests, key, second)
    except StoreError as error:
        # 501, or 400 and any other status that no row of the table knows: the server takes no condition.
        if type(error) not in (StoreError, Unsupported):
            raise
        return False


def _makes(bucket: Bucket, requests: ObjectRequests, key: str, data: Buffer, limit: int) -> bool:
    """Make an object, and return whether it is there; False where the server refuses to make the first one."""
    for _ in range(_TRIES):
        if _creates(requests, key, data):
            return True
        try:
            # Other bytes are those of somebody who found out that the server honours nothing.
            return bucket.get(key, max(len(data), limit)) == data
        except ObjectMissing:
            continue
    return False


def _creates(requests: ObjectRequests, key: str, data: Buffer) -> bool:
    """Write an object on condition that there is none, and return whether the server took it."""
    try:
        requests.call("create", key, lambda stretch: requests.put("create", key, data, Kind.DOCUMENT, stretch))
    except ObjectExists:
        return False
    return True
