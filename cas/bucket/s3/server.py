"""What a look at an S3 server tells beside the objects: its software, its clock, and how it cuts a listing into pages.

Only `cas doctor` asks. By boto3, as obstore shows neither headers nor pages.
"""

from __future__ import annotations

import email.utils
import time
from typing import Any

from cas.bucket.base import ServerFacts


def server_facts(client: Any, bucket: str, prefix: str) -> ServerFacts:
    """Return what the answer to one small listing says of the server. A refusal is an answer, too.

    Args:
        client: of boto3.
        bucket: the bucket's name.
        prefix: what all keys begin with.

    Raises:
        BotoCoreError: no server answered.
    """
    from botocore.exceptions import ClientError

    begun = time.monotonic()
    try:
        answer = client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
    except ClientError as error:
        answer = error.response
    seconds = time.monotonic() - begun
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    try:
        now = email.utils.parsedate_to_datetime(headers.get("date", ""))
    except ValueError:  # no Date header, or none that can be read
        now = None
    request = f"{headers.get('x-amz-request-id', '')}"
    return ServerFacts(
        client.meta.endpoint_url, client.meta.region_name, headers.get("server", ""), request, now, seconds
    )


def listing_pages(client: Any, bucket: str, prefix: str, size: int, most: int) -> list[list[str]]:
    """Return the keys of the first pages of a listing.

    Args:
        client: of boto3.
        bucket: the bucket's name.
        prefix: what all keys begin with.
        size: how many keys the server shall put on a page.
        most: how many pages to ask for.

    Raises:
        BotoCoreError: no server answered; ClientError: it refused.
    """
    found: list[list[str]] = []
    further: dict[str, str] = {}
    while len(found) < most:
        page = client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=size, **further)
        found.append([entry["Key"] for entry in page.get("Contents", ())])
        token = page.get("NextContinuationToken")
        if not page.get("IsTruncated") or not token:
            break
        further = {"ContinuationToken": token}
    return found
