"""What a server's refusal means, in this package's errors and without any secret.

obstore reports a status only inside its message; the pattern below is that of object_store 0.14
(`Server returned non-2xx status code: 503 Service Unavailable: <body>`), pinned by the tests of real servers.
"""

from __future__ import annotations

import re

from obstore import exceptions as ob

from cas.errors import (
    NO_PERMISSION,
    NO_SPACE,
    AccessDenied,
    BucketMissing,
    CacheError,
    CasError,
    DiskFull,
    ObjectExists,
    ObjectMissing,
    Stalled,
    StoreError,
    Transient,
    Unreachable,
    Unsupported,
)

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,200})</Message>")
_OS_ERROR = re.compile(r"\(os error (\d+)\)")

_BAD_CERTIFICATE = re.compile(r"InvalidCertificate\(\s*(\w+)")

# Worth another try besides all of 5xx (but 501 and 505): a conflict with a concurrent request, requests for patience,
# and what S3 answers with status 400 when an upload arrived late or damaged.
_PASSING = {408, 409, 425, 429}
_PASSING_CODES = {"RequestTimeout", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch"}

_WRONG_KEY = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed"}
_EXPIRED_KEY = {"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"}
_PERMISSIONS = {
    "get": "GetObject",
    "head": "GetObject",
    "put": "PutObject",
    "create": "PutObject",
    "list": "ListBucket",
    "delete": "DeleteObject",
}


def translate(error: Exception, key: str, where: str, verb: str) -> CasError:  # noqa: PLR0911 (a table, in order)
    """The error of this package that `error`, raised by obstore for one request, stands for.

    verb: `get`, `head`, `list`, `delete`, `put`, or `create` for a write that must not replace anything.
    """
    text = str(error)
    code = _first(_CODE, text)
    status = int(_first(_STATUS, text) or 0)
    said = " ".join(part for part in (str(status or ""), code, _first(_MESSAGE, text)) if part)
    what = f"{verb} {key or '/'} in {where}"

    if code == "NoSuchBucket":
        return BucketMissing(where)
    if verb in ("get", "head", "delete") and _is_absence(error, text):
        return ObjectMissing(key, where)
    if code == "RequestTimeTooSkewed":
        return AccessDenied(f"{what}: the store says this machine's clock is wrong ({said}): set it and try again")
    if code in _WRONG_KEY | _EXPIRED_KEY or _is_denial(error) or status in (401, 403):
        return _denied(what, verb, code, said or _os_reason(text))
    if (
        status in (405, 501)
        or isinstance(error, ob.NotSupportedError | NotImplementedError)
        or code == "NotImplemented"
    ):
        return Unsupported(f"{what}: the store does not support this ({said or 'not implemented'})")
    if isinstance(error, ob.AlreadyExistsError | ob.PreconditionError) and verb == "create":
        return ObjectExists(key, where)
    if status in _PASSING or code in _PASSING_CODES or (status >= 500 and status != 505):
        return Transient(f"{what}: the store answered {said}")
    if number := _first(_OS_ERROR, text):
        return _disk(int(number), what, text)
    if status:
        return StoreError(f"{what}: the store answered {said}: check the endpoint, region and bucket")
    return _broken(what, text)


def _broken(what: str, text: str) -> CasError:  # noqa: PLR0911 (a table, in order)
    """What an error without an answer of the server stands for."""
    if "redirect" in text:
        return StoreError(f"{what}: the store redirects elsewhere: check AWS_ENDPOINT_URL and AWS_REGION")
    if flaw := _first(_BAD_CERTIFICATE, text):
        return StoreError(
            f"{what}: the server's certificate is not trusted ({flaw}): "
            "check the endpoint, or name its authority's certificate in AWS_CA_BUNDLE"
        )
    if "kind: Connect" in text or "ConnectError(" in text:
        return Unreachable(f"{what}: no connection could be made: check the endpoint and the network")
    if "kind: Timeout" in text or "TimedOut" in text:
        return Stalled(f"{what}: no byte came for too long and the request was cut")
    if "non-partial response" in text:  # an error page's, or a server's that has no ranges
        return Transient(f"{what}: the store sent something else than the part that was asked for")
    if "error sending request" in text or "response body error" in text:
        return Transient(f"{what}: the connection broke before the whole answer had come")
    return Transient(f"{what}: {_plain(text)}")


def _is_absence(error: Exception, text: str) -> bool:
    # In a directory, `file/key` is absent in words of its own: ENOTDIR.
    return isinstance(error, FileNotFoundError | ob.NotFoundError) or _first(_OS_ERROR, text) == "20"


def _is_denial(error: Exception) -> bool:
    return isinstance(error, ob.PermissionDeniedError | ob.UnauthenticatedError)


def _denied(what: str, verb: str, code: str, said: str) -> AccessDenied:
    if "credential provider" in said:
        return AccessDenied(f"{what}: {said.partition('provider: ')[2]}: log in again, or check AWS_PROFILE")
    if code in _WRONG_KEY:
        hint = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION"
    elif code in _EXPIRED_KEY:
        hint = "get fresh credentials, with their AWS_SESSION_TOKEN"
    else:
        hint = f"the key needs the permission {_PERMISSIONS[verb]}, or is wrong"
    return AccessDenied(f"{what}: access denied ({said}): {hint}")


def _disk(number: int, what: str, text: str) -> CasError:
    if number in NO_SPACE:
        return DiskFull(f"{what}: the disk is full or its quota used up: free some space and try again")
    if number in NO_PERMISSION:
        return AccessDenied(f"{what}: {_os_reason(text)}: check the directory's owner and mode")
    return CacheError(f"{what}: {_os_reason(text)}")


def _os_reason(text: str) -> str:
    return _first(re.compile(r": ([^:\n]+) \(os error \d+\)"), text) or _plain(text)


def _plain(text: str) -> str:
    """The first line without any query string: what an error may show."""
    first = text.split("\n", 1)[0]
    return re.sub(r"^Generic \w+ error: |\?\S*", "", first)[:300]


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found.group(1) if found else ""
