"""Bytes by key: a directory, S3-compatible storage, https (read only), or memory for tests."""

from __future__ import annotations

from cas.bucket.base import Bucket, Entry, Kind, Part, Stored, Upload
from cas.bucket.factory import open_bucket
from cas.bucket.retry import RetryPolicy

__all__ = ["Bucket", "Entry", "Kind", "Part", "RetryPolicy", "Stored", "Upload", "open_bucket"]
