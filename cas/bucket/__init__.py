"""Objects by key: in a directory, in S3-compatible storage, behind https (read only), or in memory for tests."""

from __future__ import annotations

from cas.bucket.base import Bucket, Entry, Kind, MultipartUpload, ObjectRange, Stored
from cas.bucket.factory import open_bucket
from cas.bucket.retry import RetryPolicy

__all__ = ["Bucket", "Entry", "Kind", "MultipartUpload", "ObjectRange", "RetryPolicy", "Stored", "open_bucket"]
