"""Puts finished audio below `output/` in the bucket, and makes the URL under which its sender can fetch it.

The RunPod SDK's own upload signs for a region that it cannot tell from the endpoint of Backblaze B2 or AWS, and reads
variables of its own; this one takes those of the store.
"""

from __future__ import annotations

import os
import threading
from typing import Any
from urllib.parse import urlsplit

from cas.bucket.factory import region_in_host
from cas.errors import AccessDenied, StoreError, Unreachable

FOLDER = "output"
CONTENT_TYPES = {"wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg"}
VALID_FOR = 7 * 24 * 3600
"""Seconds that a URL works: the longest that S3 signs for, and what the RunPod SDK gives."""

_DENIED = ("AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed")


class Uploader:
    """Uploads to one bucket, with the AWS_ variables, or whatever else boto3 finds."""

    def __init__(self, bucket: str) -> None:
        """bucket: its name. Makes no request."""
        self._bucket = bucket
        self._made: Any = None
        self._making = threading.Lock()

    def __call__(self, name: str, audio: bytes, format: str) -> str:
        """Stores a file as `output/<name>.<format>` and returns a URL that reads it for a week.

        Raises AccessDenied, Unreachable or StoreError.
        """
        from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

        key = f"{FOLDER}/{name}.{format}"
        what = f"upload {key} to s3://{self._bucket}"
        try:
            client = self._client()
            client.put_object(Bucket=self._bucket, Key=key, Body=audio, ContentType=CONTENT_TYPES[format])
            where = {"Bucket": self._bucket, "Key": key}
            return str(client.generate_presigned_url("get_object", Params=where, ExpiresIn=VALID_FOR))
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "?"))
            if code in _DENIED:
                raise AccessDenied(f"{what} was refused ({code}): the worker's key needs s3:PutObject") from error
            raise StoreError(f"{what} failed ({code}): ask for base64 instead, or look at the bucket") from error
        except (ConnectionError, HTTPClientError) as error:
            raise Unreachable(f"{what} failed ({type(error).__name__}): check AWS_ENDPOINT_URL") from error
        except (BotoCoreError, ValueError) as error:
            raise StoreError(f"{what} failed ({type(error).__name__}): check the AWS_ variables") from error

    def _client(self) -> Any:
        import boto3
        from botocore.config import Config

        with self._making:
            if self._made is None:
                endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
                session = boto3.Session()
                named = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or session.region_name
                config = Config(
                    region_name=named or region_in_host(urlsplit(endpoint).hostname or ""),
                    signature_version="s3v4",
                    # Older servers reject the checksums that boto3 sends otherwise.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    retries={"mode": "standard", "total_max_attempts": 6},
                    connect_timeout=5,
                    read_timeout=30,
                    s3={"addressing_style": "path"} if endpoint else {},
                )
                self._made = session.client("s3", config=config)
            return self._made
