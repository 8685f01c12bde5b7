"""What a server's refusals mean: one table for all S3 clients, by the status, the S3 error code and the message.

`_TABLE` lists what a server can answer besides success, and the error that each answer stands for, with a next step.
Codes are those of AWS's S3 API reference ("Error responses"), and of the providers that are named beside them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import unescape
from typing import NamedTuple

from cas.bucket.redirects import REDIRECTED
from cas.errors import (
    AccessDenied,
    BucketMissing,
    ObjectArchived,
    Redirected,
    StoreError,
    Transient,
    Unsupported,
)

NO_BUCKET = "NoSuchBucket"
"""The S3 error code of a bucket that does not exist."""


class _Row(NamedTuple):
    """A row of the table. It covers an answer that has one of its statuses or codes, or whose message matches.

    Attributes:
        error: the class of the error that stands for the answer.
        statuses: the HTTP statuses that the row covers.
        codes: the S3 error codes that the row covers.
        words: the end of the error's text; `{said}` is the server's answer, `{permission}` what the operation needs,
            `{storage_class}` and `{server_time}` what the answer names.
        message: a pattern for the server's own sentence; empty for none.
    """

    error: type[StoreError]
    statuses: frozenset[int]
    codes: frozenset[str]
    words: str
    message: str


def _row(error: type[StoreError], statuses: set[int], codes: set[str], words: str, message: str = "") -> _Row:
    return _Row(error, frozenset(statuses), frozenset(codes), words, message)


# The first row that covers the answer counts. Codes that need advice of their own come first, because servers send
# them with the statuses 400 and 403.
_TABLE = (
    _row(
        AccessDenied,
        set(),
        {"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"},
        "the store says this machine's clock is wrong ({said}{server_time}): set it and try again",
    ),
    _row(
        AccessDenied,
        set(),
        {"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired", "SecurityTokenExpired"},
        "access denied ({said}): get fresh credentials, with their AWS_SESSION_TOKEN",
    ),
    _row(
        AccessDenied,
        set(),
        {"InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed", "InvalidSecurity"},
        "access denied ({said}): check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION",
    ),
    _row(
        ObjectArchived,
        set(),
        {"InvalidObjectState"},
        "the object is archived in the storage class {storage_class} ({said}): thaw it at the provider (AWS: "
        "`aws s3api restore-object`, or copy it to STANDARD), and let no lifecycle rule move what lies below the store",
    ),
    _row(  # Aliyun OSS, Tencent COS, Huawei OBS
        AccessDenied,
        set(),
        {"SecondLevelDomainForbidden", "PathStyleDomainForbidden", "VirtualHostDomainRequired"},
        "the server takes only requests that name the bucket in the host ({said}): set "
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST=true, or addressing_style = virtual in the profile",
        r"third level domain|virtual.?(host|style)",
    ),
    _row(
        StoreError,
        set(),
        {"QuotaExceeded", "StorageQuotaExceeded", "XMinioAdminBucketQuotaExceeded"},
        "the store is full, or its quota used up ({said}): free space with `cas gc`, or raise the quota",
        r"(?i)\b(quota|cap)s? (is |was |has been |are )?(exceeded|reached)",
    ),
    _row(
        AccessDenied,
        set(),
        {"AccountProblem", "NotSignedUp", "AllAccessDisabled", "UserDisable", "UserSuspended"},
        "access denied ({said}): the account itself is refused: look into the provider's console",
    ),
    _row(
        AccessDenied,
        set(),
        set(),
        "access denied ({said}): a policy forbids it, whatever else the key may do: ask the owner of the bucket which "
        "network, encryption or time it wants",
        r"explicit deny",
    ),
    _row(
        AccessDenied,
        set(),
        {"ObjectLocked", "ObjectUnderRetention", "FileImmutable"},
        "access denied ({said}): Object Lock keeps the object until its retention ends",
        r"(?i)object.?lock|retention|legal hold",
    ),
    _row(
        AccessDenied,
        set(),
        {"AccessDenied", "AccessDeniedException", "Forbidden", "UnauthorizedAccess"},
        "access denied ({said}): the key needs the permission {permission}, or is wrong",
    ),
    _row(
        AccessDenied,
        {401},
        {"Unauthorized"},
        "access denied ({said}): check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    _row(
        AccessDenied,
        {403},
        set(),
        "access denied ({said}), for no reason that is known here: check the key and its right to {permission}, and "
        "what stands before the store",
    ),
    _row(
        Unsupported,
        {405, 501},
        {"NotImplemented"},
        "the store does not support this ({said})",
    ),
    _row(
        Redirected,
        {301, 302, 303, 307, 308},
        {"PermanentRedirect", "TemporaryRedirect", "IllegalLocationConstraintException"},
        f"the store answered {{said}}: {REDIRECTED}",
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
_REGION_CODES = {"AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect"}

# AWS writes `expecting 'eu-west-1'`, Garage `expected: 20260101/garage/s3/aws4_request`.
_EXPECTED_REGION = r"\bexpect(?:ing |ed: ?)['\"]?(?:\d{8}/)?([a-z][a-z0-9-]{1,40})\b"
_ACTION = r"not authorized to perform: ([\w:*]{1,60})"


class Answer(NamedTuple):
    """What a server answered instead of doing what it was asked to do.

    Attributes:
        status: the HTTP status; 0 where no server answered.
        code: the S3 error code, such as `AccessDenied`; empty where the answer had none.
        message: the server's own sentence about it; empty where the answer had none.
        region: the region that the answer names as the bucket's; empty where it names none.
        storage_class: of the object; empty where the answer names none.
        server_time: the server's time; empty where the answer names none.
    """

    status: int
    code: str = ""
    message: str = ""
    region: str = ""
    storage_class: str = ""
    server_time: str = ""

    @property
    def said(self) -> str:
        """The answer as errors show it."""
        return " ".join(word for word in (str(self.status or ""), self.code, self.message[:300]) if word)


def answer_of(status: int, elements: Mapping[str, str]) -> Answer:
    """Return a server's answer.

    Args:
        status: the HTTP status.
        elements: of the error document, as S3 names them.
    """
    message = unescape(elements.get("Message", ""))
    found = re.search(_EXPECTED_REGION, message)
    region = elements.get("Region") or (found[1] if found else "")
    storage_class, server_time = elements.get("StorageClass", ""), elements.get("ServerTime", "")
    return Answer(status, elements.get("Code", ""), message, region, storage_class, server_time)


def is_known(answer: Answer) -> bool:
    """Return whether a row of the table covers the answer."""
    return _row_of(answer) is not _ANYTHING_ELSE


def _row_of(answer: Answer) -> _Row:
    def covers(row: _Row) -> bool:
        by_message = bool(row.message and re.search(row.message, answer.message))
        return answer.status in row.statuses or answer.code in row.codes or by_message

    return next(filter(covers, _TABLE), _ANYTHING_ELSE)


def refusal(answer: Answer, what: str, permission: str, said: str = "") -> StoreError:
    """The error that the table gives for an answer.

    Args:
        answer: the server's, or the one that an error of the operating system amounts to.
        what: the operation, the key and the store.
        permission: what the key needs for the operation, unless the server's message names it.
        said: the operating system's words; errors show them in place of an answer.
    """
    if answer.region and (answer.code in _REGION_CODES or 300 <= answer.status < 400):
        error: StoreError = other_region(what, answer.region)
    else:
        row = _row_of(answer)
        action = re.search(_ACTION, answer.message)
        named = {
            "said": said or answer.said,
            "permission": action[1] if action else permission,
            "storage_class": answer.storage_class or "of an archive",
            "server_time": f", and that it is {answer.server_time} there" if answer.server_time else "",
        }
        error = row.error(f"{what}: {row.words.format(**named)}")
    if not said:
        error.code = answer.code or str(answer.status)
    return error


def other_region(what: str, region: str) -> Redirected:
    """The error about requests that went to, or were signed for, another region than the bucket's.

    Args:
        what: the operation, the key and the store.
        region: the bucket's, as the server names it.
    """
    error = Redirected(f"{what}: the bucket is in the region {region}: set AWS_REGION={region}")
    error.region = region
    return error


def missing_bucket(where: str) -> BucketMissing:
    """The error for a bucket that the server says it does not have. where: the store's URL and endpoint."""
    error = BucketMissing(where)
    error.code = NO_BUCKET
    return error
