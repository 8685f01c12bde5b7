"""Stored versions and multipart uploads of an S3 bucket, by boto3, because obstore offers neither.

Only the collector uses this module.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cas.bucket.base import MultipartUpload, Stored
from cas.bucket.errors import boto3_error
from cas.errors import Unsupported

_ATTEMPTS = 8  # Backblaze B2 answers 503 by design

NO_VERSION = "null"
"""S3's id of a version that was written while the bucket kept no versions."""


_connecting = threading.Lock()  # boto3 makes clients in one thread at a time


class S3Admin:
    """The stored versions and multipart uploads of one bucket, below a prefix."""

    def __init__(self, url: str, bucket: str, prefix: str, endpoint: str, region: str, credentials: Mapping[str, Any]):
        """Make no request yet.

        Args:
            url: the store's URL, named in errors.
            bucket: the bucket's name.
            prefix: the folder of all keys, without slashes at its ends.
            endpoint: the server's URL; empty for AWS itself.
            region: to sign for.
            credentials: as keyword arguments of boto3; empty for boto3's own chain.
        """
        self._url, self._bucket = url, bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._endpoint, self._region, self._credentials = endpoint, region, credentials
        self._boto3_client: Any = None

    def keeps_versions(self, key: str) -> bool:
        """Return whether the object `key`, written just now, was stored as a version with an id of its own."""
        try:
            return any(one.version not in ("", NO_VERSION) for one in self.stored(key, folder=False))
        except Unsupported:
            return False

    def stored(self, prefix: str, *, folder: bool = True) -> list[Stored]:
        """Return every version, delete markers included, below a folder.

        Args:
            prefix: the folder.
            folder: False takes `prefix` as the beginning of keys instead.
        """
        found: list[Stored] = []
        begin = f"{self._prefix}{prefix.rstrip('/')}{'/' if folder and prefix else ''}"
        with self._translated_errors(f"list the versions of {prefix}", "s3:ListBucketVersions"):
            for page in self._client.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=begin):
                for one in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                    key = one["Key"].removeprefix(self._prefix)
                    found.append(
                        Stored(key, one.get("Size", 0), one["LastModified"], one["VersionId"], one["IsLatest"])
                    )
        return sorted(found)

    def erase(self, stored: Stored) -> None:
        """Delete one version for good."""
        with self._translated_errors(f"delete {stored.key}", "s3:DeleteObjectVersion"):
            self._client.delete_object(
                Bucket=self._bucket, Key=self._prefix + stored.key, VersionId=stored.version or NO_VERSION
            )

    def multipart_uploads(self) -> list[MultipartUpload]:
        """Return the multipart uploads below the prefix that nobody ended; none where the server cannot list them."""
        found = []
        try:
            with self._translated_errors("list uploads", "s3:ListBucketMultipartUploads"):
                for page in self._client.get_paginator("list_multipart_uploads").paginate(
                    Bucket=self._bucket, Prefix=self._prefix
                ):
                    found += [
                        MultipartUpload(one["Key"], one["UploadId"], one["Initiated"])
                        for one in page.get("Uploads", ())
                    ]
        except Unsupported:
            return []
        return [one._replace(key=one.key.removeprefix(self._prefix)) for one in found]

    def abort(self, upload: MultipartUpload) -> None:
        """Free the pieces of one multipart upload."""
        with self._translated_errors(f"abort the upload of {upload.key}", "s3:AbortMultipartUpload"):
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=self._prefix + upload.key, UploadId=upload.id)

    @property
    def _client(self) -> Any:
        with _connecting:
            return self._connected()

    def _connected(self) -> Any:
        if self._boto3_client is None:
            import boto3
            from botocore.config import Config

            config = Config(
                connect_timeout=5,
                read_timeout=60,
                retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
                s3={"addressing_style": "path" if self._endpoint else "auto"},
                # Older servers reject the checksums that newer versions of boto3 send unasked.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            )
            authority = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
            # A session of its own: boto3's default session must not be used by several threads.
            self._boto3_client = boto3.Session().client(
                "s3",
                endpoint_url=self._endpoint or None,
                region_name=self._region,
                config=config,
                **({"verify": authority} if authority else {}),
                **self._credentials,
            )
        return self._boto3_client

    @contextmanager
    def _translated_errors(self, what: str, permission: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        try:
            yield
        except (BotoCoreError, ClientError, HTTPClientError) as error:
            if translated := boto3_error(error, what, self._url, permission):
                raise translated from error
