"""Stored versions and multipart uploads of an S3 bucket, by boto3, because obstore offers neither.

Only the collector and `cas du` use this module, and listings that obstore cannot read.
"""

from __future__ import annotations

import contextlib
import datetime
import re
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from cas.bucket.base import Entries, Entry, MultipartUpload, Pages, ServerFacts, Stored
from cas.errors import StoreError, Unsupported

if TYPE_CHECKING:
    from cas.bucket.listing import ForeignNames
    from cas.bucket.s3.settings import S3Settings
    from cas.bucket.urls import StoreUrl

Versions: TypeAlias = list[Stored]
Uploads: TypeAlias = list[MultipartUpload]

NO_VERSION = "null"
"""S3's id of a version that was written while the bucket kept no versions."""


_connecting = threading.Lock()  # boto3 makes clients in one thread at a time


class S3Admin:
    """The stored versions and multipart uploads of one bucket, below a prefix."""

    def __init__(self, where: StoreUrl, settings: S3Settings) -> None:
        """Make no request yet.

        Args:
            where: the store's URL.
            settings: of its bucket.
        """
        self._url, self._bucket, self._settings = where.url, settings.bucket, settings
        endpoint = settings.endpoint.value
        self._where = f"{self._url} at {endpoint}" if endpoint else self._url
        self._prefix = f"{where.prefix}/" if where.prefix else ""
        self._boto3_client: Any = None

    def keeps_versions(self, key: str) -> bool:
        """Return whether the object `key` was stored as a version with an id of its own, or the bucket says so.

        An object may be older than the bucket's versions, and a bucket that no longer makes versions may have some.
        """
        try:
            if any(one.version not in ("", NO_VERSION) for one in self.stored(key, folder=False)):
                return True
        except Unsupported:
            return False
        with contextlib.suppress(StoreError), self._translated_errors("get the versioning", "s3:GetBucketVersioning"):
            return "Status" in self._client.get_bucket_versioning(Bucket=self._bucket)
        return False  # the key may not ask, or the server does not know

    def stored(self, prefix: str, *, folder: bool = True) -> Versions:
        """Return every version, delete markers included, below a folder.

        Args:
            prefix: the folder.
            folder: False takes `prefix` as the beginning of keys instead.
        """
        found: Versions = []
        begin = f"{self._prefix}{prefix.rstrip('/')}{'/' if folder and prefix else ''}"
        what = f"list the versions of {prefix}"
        markers = {"KeyMarker": "NextKeyMarker", "VersionIdMarker": "NextVersionIdMarker"}
        with self._translated_errors(what, "s3:ListBucketVersions"):
            for page in self._pages("list_object_versions", what, markers, Prefix=begin):
                for field in ("Versions", "DeleteMarkers"):
                    for one in page.get(field, ()):
                        key, size, is_marker = (
                            one["Key"].removeprefix(self._prefix),
                            one.get("Size", 0),
                            field != "Versions",
                        )
                        version = one["VersionId"], one["IsLatest"], is_marker
                        found.append(Stored(key, size, one["LastModified"], *version))
        return sorted(found)

    def pages(self, prefix: str, foreign: ForeignNames, behind: str = "") -> Iterator[Entries]:
        """Yield every object below a folder, page by page: for a listing that obstore cannot read.

        botocore tries each page again by itself.

        Args:
            prefix: the folder.
            foreign: is told of the objects that are left out.
            behind: the key behind which to begin; a server that does not know how begins with the first object.
        """
        from cas.bucket.listing import Listing

        listing = Listing(prefix.strip("/"), self._where, foreign)
        begin = f"{self._prefix}{prefix.strip('/')}{'/' if prefix else ''}"
        markers = {"ContinuationToken": "NextContinuationToken"}
        further = {"StartAfter": self._prefix + behind} if behind else {}
        with self._translated_errors(f"list {prefix}", "s3:ListBucket"):
            for page in self._pages("list_objects_v2", f"list {prefix or '/'}", markers, Prefix=begin, **further):
                yield listing.add(
                    [
                        Entry(
                            one["Key"].removeprefix(self._prefix).removesuffix("/"),
                            one.get("Size", 0),
                            one["LastModified"].astimezone(datetime.UTC),
                            one.get("ETag", "").strip('"'),
                        )
                        for one in page.get("Contents", ())
                    ]
                )

    def _pages(self, operation: str, what: str, markers: Mapping[str, str], **arguments: str) -> Iterator[Any]:
        """Yield the pages of a listing; raise ListingUnbounded for one that does not end.

        Args:
            operation: boto3's name of the request.
            what: the listing in words.
            markers: names of arguments that say where the next page begins, with the fields of a page that hold them.
            **arguments: of the request, beside the bucket.
        """
        from cas.bucket.listing import ListingProgress

        progress = ListingProgress(f"{what} in {self._where}")
        while True:
            page = getattr(self._client, operation)(Bucket=self._bucket, **arguments)
            further = {name: page[field] for name, field in markers.items() if page.get(field)}
            going_on = bool(page.get("IsTruncated") and further)
            progress.page((), repr(further) if going_on else "")
            yield page
            if not going_on:
                return
            arguments |= further

    def erase(self, stored: Stored) -> None:
        """Delete one version for good."""
        with self._translated_errors(f"delete {stored.key}", "s3:DeleteObjectVersion"):
            self._client.delete_object(
                Bucket=self._bucket, Key=self._prefix + stored.key, VersionId=stored.version or NO_VERSION
            )

    def multipart_uploads(self) -> Uploads:
        """Return the multipart uploads below the prefix that nobody ended; none where the server cannot list them."""
        found = []
        markers = {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"}
        try:
            with self._translated_errors("list uploads", "s3:ListBucketMultipartUploads"):
                for page in self._pages("list_multipart_uploads", "list uploads", markers, Prefix=self._prefix):
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

    def server(self) -> ServerFacts:
        """Return what the server says of itself in its answer to one small request, even when it refuses that."""
        from cas.bucket.s3.server import server_facts

        with self._translated_errors("look at the server", "s3:ListBucket"):
            return server_facts(self._client, self._bucket, self._prefix)
        raise AssertionError("a listing misses nothing")

    def first_pages(self, prefix: str, size: int, most: int) -> Pages:
        """Return the keys on the first pages of a folder's listing. Arguments as for `Bucket.first_pages`."""
        from cas.bucket.s3.server import listing_pages

        begin = f"{self._prefix}{prefix}{'/' if prefix else ''}"
        found: Pages = []
        with self._translated_errors(f"list {prefix or '/'} in pages", "s3:ListBucket"):
            found = listing_pages(self._client, self._bucket, begin, size, most)
        return [[key.removeprefix(self._prefix) for key in page] for page in found]

    @property
    def _client(self) -> Any:
        with _connecting:
            return self._connected()

    def _connected(self) -> Any:
        if self._boto3_client is None:
            from cas.bucket.s3.boto3_client import make_client

            self._boto3_client = make_client(self._settings)
            self._boto3_client.meta.events.register("before-parameter-build.s3", _stay_here)
            for operation in ("ListObjectsV2", "ListObjectVersions", "ListMultipartUploads"):
                self._boto3_client.meta.events.register(f"before-parse.s3.{operation}", _make_readable)
        return self._boto3_client

    @contextlib.contextmanager
    def _translated_errors(self, what: str, permission: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
        from botocore.parsers import ResponseParserError

        try:
            yield
        except (BotoCoreError, ClientError, HTTPClientError) as error:
            from cas.bucket.errors.clients import boto3_error

            if translated := boto3_error(error, what, self._url, permission):
                raise translated from error
        except ResponseParserError as error:
            raise StoreError(f"{what} in {self._where}: the answer cannot be read: check the endpoint") from error


# XML cannot hold control characters, and a key can: servers send them raw, or as references, which are no XML either.
_CONTROL = (  # texts, which re compiles at the first answer
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|&#(?:x0*1?[0-9a-fA-F]|0*(?:[12]?[0-9]|3[01]));"
)


def _stay_here(context: Any, **_: object) -> None:
    """Keep boto3 from looking for the region that a redirect names: a server that redirects that, too, loops it."""
    context.setdefault("s3_redirect", {})["redirected"] = True


_LISTING = r"<List(Bucket|Versions|MultipartUploads)Result\b"


def _make_readable(response_dict: Any, **_: object) -> None:
    """Replace what is not XML in an answer, so that one strange key does not hide the others."""
    text = response_dict["body"].decode("utf-8", "replace")
    readable = re.sub(_CONTROL, "\ufffd", text)
    response_dict["body"] = readable.encode()
    if readable != text and re.search(_LISTING, readable):
        response_dict["status_code"] = 200  # botocore has made it 500, as it could not read the body
