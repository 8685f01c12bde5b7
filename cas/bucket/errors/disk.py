"""What errors of the operating system mean in a directory store: a full disk, a missing permission, or another."""

from __future__ import annotations

from cas.bucket.errors.texts import os_reason
from cas.errors import NO_PERMISSION, NO_SPACE, AccessDenied, CacheError, CasError, DiskFull


def disk_error(number: int, what: str, text: str) -> CasError:
    """The error that an error of the operating system in a directory store stands for.

    Args:
        number: its errno.
        what: the operation, the key and the store.
        text: obstore's words, or those of the operating system.
    """
    if number in NO_SPACE:
        return DiskFull(f"{what}: the disk is full or its quota used up: free some space and try again")
    if number in NO_PERMISSION:
        return AccessDenied(f"{what}: {os_reason(text)}: check the directory's owner and mode")
    return CacheError(f"{what}: {os_reason(text)}")
