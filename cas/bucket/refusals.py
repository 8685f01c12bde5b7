"""What a server's refusals mean: one table for all S3 clients, by the status and the S3 error code of the answer.

`_TABLE` lists what a server can answer besides success, and the error that each answer stands for, with a next step.
"""

from __future__ import annotations

from typing import NamedTuple

from cas.errors import AccessDenied, BucketMissing, StoreError, Transient, Unsupported

NO_BUCKET = "NoSuchBucket"
"""The S3 error code of a bucket that does not exist."""


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


class Answer(NamedTuple):
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


def is_known(answer: Answer) -> bool:
    """Return whether a row of the table covers the answer."""
    return _row_of(answer.status, answer.code) is not _ANYTHING_ELSE


def _row_of(status: int, code: str) -> _Row:
    return next((row for row in _TABLE if status in row.statuses or code in row.codes), _ANYTHING_ELSE)


def refusal(answer: Answer, what: str, permission: str, said: str = "") -> StoreError:
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


def missing_bucket(where: str) -> BucketMissing:
    """The error for a bucket that the server says it does not have. where: the store's URL and endpoint."""
    error = BucketMissing(where)
    error.code = NO_BUCKET
    return error
