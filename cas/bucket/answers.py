"""What a server's refusal means, in this package's errors and without any secret.

obstore reports a status only inside its message; the pattern below is that of object_store 0.12 and 0.13
(`Server returned non-2xx status code: 503 Service Unavailable: <body>`), pinned by the tests of real servers.
"""

from __future__ import annotations

import re

from obstore import exceptions as ob

from cas.errors import (
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

# 408 and 429 ask for patience in words of their own; 409 is a conflict with a concurrent request.
_PASSING = {408, 409, 425, 429, 500, 502, 503, 504}
_NO_SPACE = {28, 122}
_NO_PERMISSION = {1, 13, 30}


def translate(error: Exception, key: str, where: str, verb: str) -> CasError:  # noqa: PLR0911 (a table, in order)
    """The error of this package that `error`, raised by obstore for one request, stands for."""
    text = str(error)
    code = _first(_CODE, text)
    status = int(_first(_STATUS, text) or 0)
    said = " ".join(part for part in (str(status or ""), code, _first(_MESSAGE, text)) if part)
    what = f"{verb} {key or '/'} in {where}"

    if code == "NoSuchBucket":
        return BucketMissing(where)
    if isinstance(error, FileNotFoundError | ob.NotFoundError):
        return ObjectMissing(key, where)
    if code == "RequestTimeTooSkewed":
        return AccessDenied(f"{what}: the store says this machine's clock is wrong ({said}): set it and try again")
    if isinstance(error, ob.PermissionDeniedError | ob.UnauthenticatedError) or status in (401, 403):
        return _denied(what, verb, said or _os_reason(text))
    if (
        status in (405, 501)
        or isinstance(error, ob.NotSupportedError | NotImplementedError)
        or code == "NotImplemented"
    ):
        return Unsupported(f"{what}: the store does not support this ({said or 'not implemented'})")
    if isinstance(error, ob.AlreadyExistsError | ob.PreconditionError):
        return ObjectExists(key, where)
    if status in _PASSING:
        return Transient(f"{what}: the store answered {said}")
    if number := _first(_OS_ERROR, text):
        return _disk(int(number), what, text)
    if status:
        return StoreError(f"{what}: the store answered {said}: check the endpoint, region and bucket")
    if "redirect" in text:
        return StoreError(f"{what}: the store redirects elsewhere: check AWS_ENDPOINT_URL and AWS_REGION")
    if "kind: Timeout" in text or "TimedOut" in text:
        return Stalled(f"{what}: no byte came for too long and the request was cut")
    if "kind: Connect" in text or "error sending request" in text:
        return Unreachable(f"{what}: no connection could be made: check the endpoint and the network")
    return Transient(f"{what}: {_plain(text)}")


def _denied(what: str, verb: str, said: str) -> AccessDenied:
    needed = {
        "get": "GetObject",
        "head": "GetObject",
        "put": "PutObject",
        "list": "ListBucket",
        "delete": "DeleteObject",
    }
    permission = needed.get(verb, verb)
    return AccessDenied(f"{what}: access denied ({said}): the key needs the permission {permission}, or is wrong")


def _disk(number: int, what: str, text: str) -> CasError:
    if number in _NO_SPACE:
        return DiskFull(f"{what}: the disk is full or its quota used up: free some space and try again")
    if number in _NO_PERMISSION:
        return AccessDenied(f"{what}: {_os_reason(text)}: check the directory's owner and mode")
    return CacheError(f"{what}: {_os_reason(text)}")


def _os_reason(text: str) -> str:
    return _first(re.compile(r": ([^:\n]+) \(os error \d+\)"), text) or _plain(text)


def _plain(text: str) -> str:
    """The first line without any query string: what an error may show."""
    return re.sub(r"\?\S*", "", text.split("\n", 1)[0])[:300]


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found.group(1) if found else ""
