"""What the failures of S3 clients mean, in this package's errors, with a next step and without any secret.

Each of the two clients has an adapter, which takes the server's answer out of the client's exceptions: `obstore_error`
for objects, `boto3_error` for stored versions and multipart uploads. What an answer means is in `refusals`, what a
request without an answer means in `network`, and what the operating system means in `disk`. Callers
import this module when something fails: a start without an error does not wait for it.
"""

from __future__ import annotations

import re
from typing import Any

from obstore import exceptions as ob

from cas.bucket.errors.disk import disk_error
from cas.bucket.errors.network import failure_without_answer, no_connection, tls_wanted
from cas.bucket.errors.refusals import NO_BUCKET, Answer, answer_of, is_known, missing_bucket, refusal
from cas.bucket.errors.texts import first_group, os_reason, without_query
from cas.errors import (
    AccessDenied,
    CasError,
    ForeignKey,
    ObjectExists,
    ObjectMissing,
    StoreError,
    Unreachable,
)

_ABSENT = {"NoSuchKey", "NoSuchVersion", "NoSuchUpload"}

# obstore tells a status only in its message, which tests of real servers pin (object_store 0.14: `status code: 503 …`).
_STATUS = r"status code: (\d{3})"
# An element of the error document, which obstore shows twice; the second time with escapes.
_ELEMENT = r"<(Code|Message|Region|StorageClass|ServerTime)>([^<]{1,1000})"
_OS_ERROR = r"\(os error (\d{1,9})\)"
# What object_store finds wrong with a key.
_UNUSABLE_PATH = r'(Error parsing Path|Path "|Encountered illegal character sequence)[^\n]{0,200}'

_PERMISSIONS = {
    "get": "GetObject",
    "head": "GetObject",
    "put": "PutObject",
    "create": "PutObject",
    "list": "ListBucket",
    "delete": "DeleteObject",
}


def obstore_error(error: Exception, key: str, where: str, operation: str) -> CasError:  # noqa: PLR0911 (in order)
    """The error of this package that an exception of obstore, raised by one request, stands for.

    Args:
        error: what obstore raised.
        key: the object, or the folder of a listing.
        where: the store's URL and endpoint.
        operation: `get`, `head`, `list`, `delete`, `put`, or `create` for a write that must not replace anything.
    """
    text = str(error)
    answer = _obstore_answer(text)
    what = f"{operation} {key or '/'} in {where}"
    permission = _PERMISSIONS[operation]

    if (scheme := where.partition("://")[0]) in ("az", "gs"):
        from cas.bucket.errors.clouds import cloud_refusal

        if refused := cloud_refusal(scheme, answer, text, what, where, operation):
            return refused
    if answer.code == NO_BUCKET:
        return missing_bucket(where)
    if operation in ("get", "head", "delete") and _is_absence(error, text):
        return ObjectMissing(key, where)
    if operation == "create" and isinstance(error, ob.AlreadyExistsError | ob.PreconditionError):
        return ObjectExists(key, where)
    if answer.status or is_known(answer):
        return tls_wanted(what, text) or refusal(answer, what, permission)
    if isinstance(error, ob.PermissionDeniedError | ob.UnauthenticatedError):
        said = os_reason(text)
        if "credential provider" in said:
            return AccessDenied(f"{what}: {said.partition('provider: ')[2]}: log in again, or check AWS_PROFILE")
        return refusal(Answer(403), what, permission, said)
    if isinstance(error, ob.NotSupportedError | NotImplementedError):
        return refusal(Answer(501), what, permission, "not implemented")
    if number := first_group(_OS_ERROR, text):
        return disk_error(int(number), what, text)
    if flaw := re.search(_UNUSABLE_PATH, text):
        if operation == "list":
            return ForeignKey(f"{what}: the listing holds a key that no program of ours can have written: {flaw[0]}")
        return StoreError(f"{what}: no object can have this key: {without_query(text)}")
    return failure_without_answer(what, text)


def _obstore_answer(text: str) -> Answer:
    elements = dict(reversed(re.findall(_ELEMENT, text)))
    if not re.fullmatch(r"\w{1,64}", elements.get("Code", "")):
        elements.pop("Code", "")
    return answer_of(int(first_group(_STATUS, text) or 0), elements)


def is_panic(error: BaseException) -> bool:
    """Return whether an exception is the panic of a library in Rust, which may be a BaseException and only repeats."""
    return type(error).__name__ in ("PanicException", "RustPanic")


def _is_absence(error: Exception, text: str) -> bool:
    # In a directory, a key below a file fails with ENOTDIR (20), for which obstore has no class.
    return isinstance(error, FileNotFoundError | ob.NotFoundError) or first_group(_OS_ERROR, text) == "20"


def boto3_error(error: Exception, operation: str, where: str, permission: str) -> StoreError | None:
    """The error of this package that an exception of boto3 stands for; None when what it should work on is gone.

    Args:
        error: a ClientError, or any other BotoCoreError or HTTPClientError.
        operation: what was tried, in words.
        where: the store's URL.
        permission: the S3 action that the key needs for it.
    """
    from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

    what = f"{operation} in {where}"
    if isinstance(error, ClientError):
        answer = _boto3_answer(error.response)
        if answer.code == NO_BUCKET:
            return missing_bucket(where)
        return None if answer.code in _ABSENT or answer.status == 404 else refusal(answer, what, permission)
    if isinstance(error, ConnectionError | HTTPClientError):
        # urllib3's own error, which holds the cause, is only in the arguments of botocore's.
        more = getattr(error, "kwargs", {})
        if known := no_connection(what, f"{error} {more.get('error')!r}", str(more.get("proxy_url", ""))):
            return known
        return Unreachable(f"{what}: no answer ({type(error).__name__}): check the network")
    return StoreError(f"{what}: {error}")


def _boto3_answer(response: Any) -> Answer:
    elements = {name: str(value) for name, value in response.get("Error", {}).items()}
    metadata = response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0))
    if elements.get("Code") == str(status):  # botocore puts the status in the place of a code that is missing
        elements["Code"] = ""
    if region := metadata.get("HTTPHeaders", {}).get("x-amz-bucket-region"):
        elements.setdefault("Region", region)
    return answer_of(status, elements)
