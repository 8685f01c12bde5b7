"""The answers of an S3 server: errors, objects and listings, as AWS's S3 API reference writes them."""

from __future__ import annotations

import calendar
import email.utils
import hashlib
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote
from xml.sax.saxutils import escape, unescape

_XML = {"Content-Type": "application/xml"}
_NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


class StoredObject(NamedTuple):
    """What a server stores under a key.

    Attributes:
        data: the object's bytes.
        written: when, in seconds since 1970 by the server's clock.
    """

    data: bytes
    written: float

    @property
    def tag(self) -> str:
        """The object's etag, with its quotation marks."""
        return f'"{hashlib.md5(self.data, usedforsecurity=False).hexdigest()}"'


@dataclass(frozen=True)
class Said:
    """One answer.

    Attributes:
        status: the HTTP status.
        body: the answer's body.
        headers: its headers, without those about its length.
        is_object: whether the body is an object's.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_object: bool = False


def error(status: int, code: str, message: str, more: str = "", **headers: str) -> Said:
    """Return an error. more: further elements of its document."""
    document = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message>{more}<RequestId>1</RequestId></Error>"
    return Said(status, f'<?xml version="1.0" encoding="UTF-8"?>{document}'.encode(), _XML | headers)


def wrong_region(status: int, asked: str, region: str) -> Said:
    """Return the refusal of a request that is signed for another region; status: 400 or 301."""
    headers = {"x-amz-bucket-region": region}
    if status == 301:
        message = "The bucket you are attempting to access must be addressed using the specified endpoint."
        more = f"<Endpoint>bucket.s3.{region}.example.com</Endpoint>"
        return error(301, "PermanentRedirect", message, more, **headers)
    message = f"The authorization header is malformed; the region '{asked}' is wrong; expecting '{region}'"
    return error(400, "AuthorizationHeaderMalformed", message, f"<Region>{region}</Region>", **headers)


def archived() -> Said:
    """Return the refusal of a GET of an object in an archive."""
    message = "The operation is not valid for the object's storage class"
    return error(403, "InvalidObjectState", message, "<StorageClass>GLACIER</StorageClass>")


def whole_or_part(stored: StoredObject, span: str) -> Said:
    """Return an object, or the bytes that a Range header asks for."""
    headers = {
        "ETag": stored.tag,
        "Last-Modified": email.utils.formatdate(stored.written, usegmt=True),
        "Content-Type": "binary/octet-stream",
        "Accept-Ranges": "bytes",
    }
    size = len(stored.data)
    if not (found := re.fullmatch(r"bytes=(\d+)-(\d*)", span)):
        return Said(200, stored.data, headers, is_object=True)
    first, last = int(found[1]), min(int(found[2] or size), size - 1)
    if first >= size:
        return error(416, "InvalidRange", "The range cannot be satisfied.")
    headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return Said(206, stored.data[first : last + 1], headers, is_object=True)


def keys_to_delete(body: bytes) -> list[str]:
    """Return the keys that the body of a DeleteObjects names."""
    return [unescape(key) for key in re.findall("<Key>([^<]*)</Key>", body.decode())]


def deleted(keys: Iterable[str]) -> Said:
    """Return the success of a DeleteObjects."""
    each = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
    return Said(200, f"<DeleteResult {_NAMESPACE}>{each}</DeleteResult>".encode(), _XML)


def listing(objects: Mapping[str, StoredObject], query: Mapping[str, str], page_size: int, archived_part: str) -> Said:
    """Return a page of ListObjectsV2, or of an empty ListObjectVersions or ListMultipartUploads.

    Args:
        objects: what is stored.
        query: of the request.
        page_size: keys on a page.
        archived_part: keys with this text in them are of the class GLACIER; empty for none.
    """
    for name, root in (("versions", "ListVersionsResult"), ("uploads", "ListMultipartUploadsResult")):
        if name in query:
            return Said(200, f"<{root} {_NAMESPACE}><IsTruncated>false</IsTruncated></{root}>".encode(), _XML)
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    after = max(query.get("start-after", ""), query.get("continuation-token", ""))
    page_size = min(page_size, int(query.get("max-keys", page_size)))
    shown: list[str] = []
    more = False
    encode = quote if query.get("encoding-type") == "url" else escape
    last, folders = "", set()
    for key in sorted(key for key in objects if key.startswith(prefix) and key > after):
        head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
        folder = f"{prefix}{head}{found}" if found else ""
        if folder and (folder in folders or (after.startswith(folder))):
            last = key
            continue
        if len(shown) >= page_size:
            more = True
            break
        last = key
        if folder:
            folders.add(folder)
            shown.append(f"<CommonPrefixes><Prefix>{encode(folder)}</Prefix></CommonPrefixes>")
            continue
        of_class = "GLACIER" if archived_part and archived_part in key else "STANDARD"
        written = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(objects[key].written))
        shown.append(
            f"<Contents><Key>{encode(key)}</Key><LastModified>{written}</LastModified>"
            f"<ETag>{escape(objects[key].tag)}</ETag><Size>{len(objects[key].data)}</Size>"
            f"<StorageClass>{of_class}</StorageClass></Contents>"
        )
    token = f"<NextContinuationToken>{escape(last)}</NextContinuationToken>" if more else ""
    head = f"<Prefix>{encode(prefix)}</Prefix><KeyCount>{len(shown)}</KeyCount><MaxKeys>{page_size}</MaxKeys>"
    if encode is quote:
        head += "<EncodingType>url</EncodingType>"
    page = f"{head}<IsTruncated>{str(more).lower()}</IsTruncated>{token}{''.join(shown)}"
    return Said(200, f"<ListBucketResult {_NAMESPACE}>{page}</ListBucketResult>".encode(), _XML)


def seconds_of(date: str) -> float:
    """Return the seconds since 1970 of a date as requests are signed with: `20260101T000000Z`."""
    return calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))
