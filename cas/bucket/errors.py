"""What the failures of S3 clients mean, in this package's errors, with a next step and without any secret.

`_TABLE` lists what a server can answer besides success, and the error that each answer stands for. Each of the two
clients has an adapter, which takes the server's answer out of the client's exceptions: `obstore_error` for objects,
`boto3_error` for stored versions and multipart uploads.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from obstore import exceptions as ob

from cas.bucket.redirects import NOWHERE, REDIRECTED
from cas.errors import (
    NO_PERMISSION,
    NO_SPACE,
    AccessDenied,
    BucketMissing,
    CacheError,
    CasError,
    DiskFull,
    ForeignKey,
    ObjectExists,
    ObjectMissing,
    Stalled,
    StoreError,
    Transient,
    Unreachable,
    Unsupported,
)

_NO_BUCKET = "NoSuchBucket"
_ABSENT = {"NoSuchKey", "NoSuchVersion", "NoSuchUpload"}


class _Row(NamedTuple):
    """A row of the table.

    Attributes:
        error: the class of the error that stands for the answer.
        statuses: the HTTP statuses that the row covers.
        codes: the S3 error codes that the row covers.
        words: the end of the error's text; `{said}` is the server's answer, `{permission}` what the operation needs.
    """

    error: type[StoreError]
    statuses: frozenset[int]
    codes: frozenset[str]
    words: str


def _row(error: type[StoreError], statuses: set[int], codes: set[str], words: str) -> _Row:
    return _Row(error, frozenset(statuses), frozenset(codes), words)


# The first row that covers the answer's status or its code counts. Codes that need advice of their own come first,
# because servers send them with the statuses 400 and 403.
_TABLE = (
    _row(
        AccessDenied,
        set(),
        {"RequestTimeTooSkewed"},
        "the store says this machine's clock is wrong ({said}): set it and try again",
    ),
    _row(
        AccessDenied,
        set(),
        {"InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed"},
        "access denied ({said}): check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION",
    ),
    _row(
        AccessDenied,
        set(),
        {"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"},
        "access denied ({said}): get fresh credentials, with their AWS_SESSION_TOKEN",
    ),
    _row(
        AccessDenied,
        {401, 403},
        set(),
        "access denied ({said}): the key needs the permission {permission}, or is wrong",
    ),
    _row(
        Unsupported,
        {405, 501},
        {"NotImplemented"},
        "the store does not support this ({said})",
    ),
    # Worth another try: all of 5xx (but 501 and 505), a conflict with a concurrent request, requests to wait, and what
    # S3 answers with status 400 when an upload arrived late or damaged.
    _row(
        Transient,
        {408, 409, 425, 429, *range(500, 600)} - {501, 505},
        {"RequestTimeout", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch"},
        "the store answered {said}",
    ),
)
_ANYTHING_ELSE = _row(StoreError, set(), set(), "the store answered {said}: check the endpoint, region and bucket")


class _Answer(NamedTuple):
    """What a server answered instead of doing what it was asked to do.

    Attributes:
        status: the HTTP status; 0 where no server answered.
        code: the S3 error code, such as `AccessDenied`; empty where the answer had none.
        message: the server's own sentence about it; empty where the answer had none.
    """

    status: int
    code: str
    message: str

    @property
    def said(self) -> str:
        """The answer as errors show it."""
        return " ".join(word for word in (str(self.status or ""), self.code, self.message) if word)


def _row_of(status: int, code: str) -> _Row:
    return next((row for row in _TABLE if status in row.statuses or code in row.codes), _ANYTHING_ELSE)


def _refusal(answer: _Answer, what: str, permission: str, said: str = "") -> StoreError:
    """The error that the table gives for an answer.

    Args:
        answer: the server's, or the one that an error of the operating system amounts to.
        what: the operation, the key and the store.
        permission: what the key needs for the operation.
        said: the operating system's words; errors show them in place of an answer.
    """
    row = _row_of(answer.status, answer.code)
    error = row.error(f"{what}: {row.words.format(said=said or answer.said, permission=permission)}")
    if not said:
        error.code = answer.code or str(answer.status)
    return error


def _missing_bucket(where: str) -> BucketMissing:
    error = BucketMissing(where)
    error.code = _NO_BUCKET
    return error


# These patterns are texts: re compiles and keeps them at the first error, so a start without one does not wait for it.
# obstore tells a status only in its message, which tests of real servers pin (object_store 0.14: `status code: 503 …`).
_STATUS = r"status code: (\d{3})"
_CODE = r"<Code>(\w{1,64})</Code>"
_MESSAGE = r"<Message>([^<]{1,200})</Message>"
_OS_ERROR = r"\(os error (\d{1,9})\)"
# What object_store finds wrong with a key; and what it misses in an answer, which no other try brings.
_UNUSABLE_PATH = r'(Error parsing Path|Path "|Encountered illegal character sequence)[^\n]{0,200}'
_UNUSABLE_ANSWER = (
    r"(?i)(Content-Length Header|Invalid content length|(Missing|Invalid) (last modified|etag))[^\n]{0,99}"
)
_BAD_CERTIFICATE = r"InvalidCertificate\(\s*(\w+)"

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
    answer = _Answer(int(_first(_STATUS, text) or 0), _first(_CODE, text), _first(_MESSAGE, text))
    what = f"{operation} {key or '/'} in {where}"
    permission = _PERMISSIONS[operation]

    if answer.code == _NO_BUCKET:
        return _missing_bucket(where)
    if operation in ("get", "head", "delete") and _is_absence(error, text):
        return ObjectMissing(key, where)
    if operation == "create" and isinstance(error, ob.AlreadyExistsError | ob.PreconditionError):
        return ObjectExists(key, where)
    if answer.status or _row_of(answer.status, answer.code) is not _ANYTHING_ELSE:
        return _refusal(answer, what, permission)
    if isinstance(error, ob.PermissionDeniedError | ob.UnauthenticatedError):
        said = _os_reason(text)
        if "credential provider" in said:
            return AccessDenied(f"{what}: {said.partition('provider: ')[2]}: log in again, or check AWS_PROFILE")
        return _refusal(_Answer(403, "", ""), what, permission, said)
    if isinstance(error, ob.NotSupportedError | NotImplementedError):
        return _refusal(_Answer(501, "", ""), what, permission, "not implemented")
    if number := _first(_OS_ERROR, text):
        return disk_error(int(number), what, text)
    if flaw := re.search(_UNUSABLE_PATH, text):
        if operation == "list":
            return ForeignKey(f"{what}: the listing holds a key that no program of ours can have written: {flaw[0]}")
        return StoreError(f"{what}: no object can have this key: {_without_query(text)}")
    return _without_answer(what, text)


def is_panic(error: BaseException) -> bool:
    """Return whether an exception is the panic of a library in Rust, which may be a BaseException and only repeats."""
    return type(error).__name__ in ("PanicException", "RustPanic")


def _without_answer(what: str, text: str) -> CasError:  # noqa: PLR0911 (in order)
    """The error for an exception of obstore that carries no answer of the server. text: of the exception."""
    if missing := re.search(_UNUSABLE_ANSWER, text):
        return StoreError(
            f"{what}: the answer cannot be used ({missing[0]}): check the endpoint, or the proxy before it"
        )
    if "redirect" in text or NOWHERE in text:
        return StoreError(f"{what}: {REDIRECTED}")
    if flaw := _first(_BAD_CERTIFICATE, text):
        return StoreError(
            f"{what}: the server's certificate is not trusted ({flaw}): "
            "check the endpoint, or name its authority's certificate in AWS_CA_BUNDLE"
        )
    if "kind: Connect" in text or "ConnectError(" in text:
        return Unreachable(f"{what}: no connection could be made: check the endpoint and the network")
    if "kind: Timeout" in text or "TimedOut" in text:
        return Stalled(f"{what}: no byte came for too long and the request was cut")
    if "non-partial response" in text:  # an error page, or a server that does not know ranges
        return Transient(f"{what}: the store sent something else than the part that was asked for")
    if "error sending request" in text or "response body error" in text:
        return Transient(f"{what}: the connection broke before the whole answer had come")
    return Transient(f"{what}: {_without_query(text)}")


def _is_absence(error: Exception, text: str) -> bool:
    # In a directory, a key below a file fails with ENOTDIR (20), for which obstore has no class.
    return isinstance(error, FileNotFoundError | ob.NotFoundError) or _first(_OS_ERROR, text) == "20"


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
        return AccessDenied(f"{what}: {_os_reason(text)}: check the directory's owner and mode")
    return CacheError(f"{what}: {_os_reason(text)}")


def _os_reason(text: str) -> str:
    return _first(r": ([^:\n]+) \(os error \d+\)", text) or _without_query(text)


def _without_query(text: str) -> str:
    """The first line without any query string, which may be a signature: what an error may show."""
    first = text.split("\n", 1)[0]
    return re.sub(r"^Generic \w+ error: |\?\S*", "", first)[:300]


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found.group(1) if found else ""


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
        if answer.code == _NO_BUCKET:
            return _missing_bucket(where)
        return None if answer.code in _ABSENT or answer.status == 404 else _refusal(answer, what, permission)
    if isinstance(error, ConnectionError | HTTPClientError):
        return Unreachable(f"{what}: no answer ({type(error).__name__}): check the network")
    return StoreError(f"{what}: {error}")


def _boto3_answer(response: Any) -> _Answer:
    said = response.get("Error", {})
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = str(said.get("Code", ""))
    # botocore puts the status in the place of a code that is missing.
    return _Answer(status, "" if code == str(status) else code, str(said.get("Message", ""))[:200])
