"""What refusals of Azure Blob Storage and Google Cloud Storage mean, beside those that they share with S3.

Sources: https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes,
https://cloud.google.com/storage/docs/xml-api/reference-status
"""

from __future__ import annotations

import re
from typing import NamedTuple

from cas.bucket.errors.refusals import Answer, missing_bucket
from cas.errors import AccessDenied, StoreError, Transient

_BULK_DELETE = r"Bulk delete request failed .*: (.*) \(code: (\d{3})\)"


class _Row(NamedTuple):
    """What some error codes of a cloud mean.

    Attributes:
        error: the class of the error that stands for the answer.
        codes: the error codes that the row covers; without any, it covers the statuses 401 and 403.
        words: the end of the error's text; `{said}` is the server's answer, `{permission}` what the operation needs.
    """

    error: type[StoreError]
    codes: frozenset[str]
    words: str


class _Cloud(NamedTuple):
    """How one cloud words its refusals.

    Attributes:
        rows: what its codes mean; the first row that covers an answer counts.
        permissions: what a key needs, by operation.
    """

    rows: tuple[_Row, ...]
    permissions: dict[str, str]


def _row(error: type[StoreError], codes: set[str], words: str) -> _Row:
    return _Row(error, frozenset(codes), words)


_AZURE = _Cloud(
    rows=(
        _row(
            AccessDenied,
            {"AuthenticationFailed", "InvalidAuthenticationInfo"},
            "access denied ({said}): check AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY, or the SAS token and its "
            "dates, and this machine's clock",
        ),
        # With 404 and 409 for a container that is not public: neither is an absent object, nor a passing conflict.
        _row(
            AccessDenied,
            {"ResourceNotFound", "NoAuthenticationInformation", "PublicAccessNotPermitted"},
            "access denied ({said}): the container is not public, or the account is another: check "
            "AZURE_STORAGE_ACCOUNT, and set AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN",
        ),
        _row(
            AccessDenied,
            {"BlobImmutableDueToPolicy", "LeaseIdMissing", "LeaseIdMismatchWithBlobOperation", "SnapshotsPresent"},
            "the container does not allow it ({said}): an immutability policy, a legal hold or another program's lease "
            "keeps the blob as it is",
        ),
        _row(
            StoreError,
            {"BlobArchived", "BlobBeingRehydrated"},
            "the blob is in the archive tier ({said}): set its tier to Hot or Cool, and wait until it is there",
        ),
        _row(
            AccessDenied,
            set(),
            "access denied ({said}): the key is wrong, a SAS token lacks {permission}, or the account's network rules "
            "keep this machine out",
        ),
        _row(
            StoreError,
            {"OutOfRangeInput", "InvalidResourceName", "InvalidUri"},
            "no container or blob can have this name ({said}): check the store's URL",
        ),
        _row(Transient, {"ContainerBeingDeleted", "ServerBusy", "OperationTimedOut"}, "the store answered {said}"),
    ),
    permissions={
        "get": "Read (SAS r, role Storage Blob Data Reader)",
        "head": "Read (SAS r, role Storage Blob Data Reader)",
        "put": "Write (SAS w, role Storage Blob Data Contributor)",
        "create": "Create (SAS c, role Storage Blob Data Contributor)",
        "list": "List (SAS l for the container, role Storage Blob Data Reader)",
        "delete": "Delete (SAS d for the container, role Storage Blob Data Contributor)",
    },
)
_GOOGLE = _Cloud(
    rows=(
        _row(
            AccessDenied,
            {"UserProjectMissing", "UserProjectAccountProblem"},
            "the bucket lets the requester pay ({said}), which is not supported: copy it to a bucket of your own",
        ),
        _row(
            AccessDenied,
            {"RetentionPolicyNotMet", "ObjectUnderActiveHold"},
            "the bucket does not allow it ({said}): a retention policy or hold keeps the object as it is",
        ),
        _row(
            AccessDenied,
            {"AuthenticationRequired", "ExpiredToken", "InvalidSecurity", "SignatureDoesNotMatch"},
            "access denied ({said}): check the credential file that GOOGLE_SERVICE_ACCOUNT or "
            "GOOGLE_APPLICATION_CREDENTIALS names, or set a fresh GOOGLE_BEARER_TOKEN",
        ),
        _row(
            AccessDenied,
            set(),
            "access denied ({said}): the credential needs the permission {permission}, or is wrong",
        ),
    ),
    permissions={
        "get": "storage.objects.get",
        "head": "storage.objects.get",
        "put": "storage.objects.create (and storage.objects.delete, to replace an object)",
        "create": "storage.objects.create",
        "list": "storage.objects.list",
        "delete": "storage.objects.delete",
    },
)
_CLOUDS = {"az": _AZURE, "gs": _GOOGLE}


def cloud_refusal(scheme: str, answer: Answer, text: str, what: str, where: str, operation: str) -> StoreError | None:
    """Return the error that an answer of Azure's or Google's stands for; None where it means what it means in S3.

    Args:
        scheme: of the store's URL, `az` or `gs`.
        answer: the server's.
        text: of obstore's exception.
        what: the operation, the key and the store.
        where: the store's URL and endpoint.
        operation: as `obstore_error` takes it.
    """
    if deleted := re.search(_BULK_DELETE, text):  # Azure's answer to each key stands in a text of its own
        answer = Answer(int(deleted[2]), "", deleted[1])
    if answer.code == "ContainerNotFound" or "container does not exist" in answer.message:
        return missing_bucket(where)
    cloud = _CLOUDS[scheme]
    for row in cloud.rows:
        if answer.code in row.codes or (not row.codes and answer.status in (401, 403)):
            said = answer._replace(message=answer.message.partition("\n")[0]).said
            error = row.error(f"{what}: {row.words.format(said=said, permission=cloud.permissions[operation])}")
            error.code = answer.code or str(answer.status)
            return error
    if "token request" in text and 400 <= answer.status < 500:
        return AccessDenied(
            f"{what}: Google gave no token ({answer.said}): check the file that GOOGLE_SERVICE_ACCOUNT or "
            "GOOGLE_APPLICATION_CREDENTIALS names"
        )
    return None
