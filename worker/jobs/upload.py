"""Uploads finished audio to `output/` in the bucket, and makes the URL under which the job's sender can fetch it.

The RunPod SDK's own upload signs for a region that it cannot tell from the endpoint of Backblaze B2 or AWS, and reads
variables of its own. This one goes through the store's client and reads the store's variables
(docs/decisions/0016-uploads.md).
"""

from __future__ import annotations

from functools import cached_property

from cas.bucket import Bucket, Kind, RetryPolicy, open_bucket
from cas.errors import AccessDenied, CasError, InputError, StoreError, Unreachable

FOLDER = "output"
KINDS = {"wav": Kind.WAV, "flac": Kind.FLAC, "mp3": Kind.MP3, "opus": Kind.OPUS, "pcm": Kind.PCM}
"""What is uploaded for each format that a job can ask for."""

VALID_FOR = 7 * 24 * 3600
"""Seconds that a URL works: the longest that S3 signs for, and what the RunPod SDK gives."""

# A job waits for its upload: it fails after six tries, and not after the ten of a publish.
_POLICY = RetryPolicy(attempts=6, unreachable_attempts=6)


class Uploader:
    """Uploads to one bucket, with the credentials, endpoint and region that a store in it would have."""

    def __init__(self, bucket: str) -> None:
        """Make no request yet. bucket: its name."""
        self._url = f"s3://{bucket}"

    def __call__(self, name: str, audio: bytes, format: str) -> str:
        """Store a file as `output/<name>.<format>` and return a URL that reads it for a week.

        Args:
            name: of the file; an upload of the same name is replaced.
            audio: bytes of the file.
            format: one of KINDS.

        Raises:
            AccessDenied: the bucket refused the worker's key.
            Unreachable: the bucket did not answer.
            StoreError: the bucket answered with another failure, or the AWS_ variables cannot be used.
        """
        key = f"{FOLDER}/{name}.{format}"
        try:
            self._bucket.put(key, audio, KINDS[format], overwrite=True)
            return self._bucket.signed_url(key, VALID_FOR)
        except CasError as error:
            raise _upload_error(error, f"upload {key} to {self._url}") from error

    @cached_property
    def _bucket(self) -> Bucket:
        return open_bucket(self._url, _POLICY)


def _upload_error(error: CasError, what: str) -> StoreError:
    """What the sender of a job reads about an error of the bucket: one short sentence, with a next step."""
    if isinstance(error, StoreError) and error.code:
        if isinstance(error, AccessDenied):
            return AccessDenied(f"{what} was refused ({error.code}): the worker's key needs s3:PutObject")
        return StoreError(f"{what} failed ({error.code}): ask for base64 instead, or look at the bucket")
    reason = f"{what} failed ({type(error).__name__})"
    if isinstance(error, AccessDenied | InputError):  # raised before any request: there are no usable credentials
        return StoreError(f"{reason}: check the AWS_ variables")
    return Unreachable(f"{reason}: check AWS_ENDPOINT_URL")
