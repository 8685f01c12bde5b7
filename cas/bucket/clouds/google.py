"""Google Cloud Storage: from the variables of Google's own tools to a bucket, over the XML API.

Tried against no server of Google's: docs/operations/set-up.md says so. The client gets one credential, and none of
those that need the metadata server of a machine in Google's cloud.
"""

from __future__ import annotations

import datetime
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from obstore import sign
from obstore.store import GCSStore, ObjectStore

from cas import config
from cas.bucket.base import Bucket, Kind
from cas.bucket.client_options import NO_RETRIES, client_options, make_store
from cas.bucket.object_requests import ObjectRequests
from cas.bucket.object_store import ObjectBucket
from cas.bucket.redirects import only_to_host_of
from cas.bucket.retry import RetryPolicy
from cas.bucket.urls import StoreUrl, plain_address
from cas.config import NOT_SET, Setting
from cas.errors import AccessDenied, InputError, Unsupported
from cas.formats.digest import Buffer
from cas.formats.typed_json import JsonFormat

_KEY = "GOOGLE_SERVICE_ACCOUNT_KEY"
_FILES = ("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "GOOGLE_APPLICATION_CREDENTIALS")
_TOKEN = "GOOGLE_BEARER_TOKEN"  # noqa: S105 (a name)
_ENDPOINT = "GOOGLE_BASE_URL"
_ANONYMOUS = "GOOGLE_SKIP_SIGNATURE"
# The client reads these itself, prefers a token, and refuses a key beside a file.
_READ_BY_THE_CLIENT = (_KEY, *_FILES[:2], "SERVICE_ACCOUNT", _TOKEN)

_GOOGLE = "https://storage.googleapis.com"
# https://cloud.google.com/storage/docs/buckets#naming
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")


class _CredentialFile(msgspec.Struct):
    type: str = ""


_CREDENTIAL_FILES = JsonFormat[_CredentialFile](_CredentialFile)


class _Access(NamedTuple):
    """How requests are authorized.

    Attributes:
        credential: what GCSStore needs, as keyword arguments.
        named: the variables that the credential is from, the one that counts first.
        words: what the credential is, and its file; no secret.
        can_sign: whether URLs can be signed without a request: by a service account's private key.
        is_public: whether requests go without any credential.
    """

    credential: dict[str, Any]
    named: tuple[str, ...]
    words: str
    can_sign: bool = False
    is_public: bool = False


class GoogleSettings(NamedTuple):
    """How the server is asked, and where each setting comes from.

    Attributes:
        endpoint: the URL of the server.
        key: what the credential is, in words without a secret; empty where requests go without any.
        anonymous: `true` where they do; else empty.
    """

    endpoint: Setting
    key: Setting
    anonymous: Setting


def open_google(url: StoreUrl, policy: RetryPolicy) -> Bucket:
    """Return the bucket; makes no request.

    Args:
        url: `gs://bucket/prefix`, parsed.
        policy: time limits and retries.

    Raises:
        InputError: the bucket's name is none that Google allows, or variables contradict each other.
        AccessDenied: no credential is named.
    """
    if not _BUCKET_NAME.fullmatch(url.bucket):
        raise InputError(f"store gs://{url.bucket}: no bucket has this name: write gs://bucket/prefix")
    access, endpoint = _access(), _endpoint().value

    def connect(reading: bool) -> ObjectStore:
        options = client_options(endpoint, policy, config.ca_bundle(), reading=reading) | _only_to(endpoint)
        make = lambda: GCSStore(  # noqa: E731
            url.bucket,
            prefix=url.prefix or None,
            base_url=endpoint,
            client_options=options,
            retry_config=NO_RETRIES,
            **access.credential,
        )
        return make_store(url.url, make, config.ca_bundle(), f"check {access.named[0]}")

    def read_url(client: ObjectStore, key: str, seconds: int) -> str:
        if access.is_public:
            return f"{endpoint}/{url.bucket}/{url.prefix}{'/' if url.prefix else ''}{key}"
        assert isinstance(client, GCSStore)
        return sign(client, "GET", key, datetime.timedelta(seconds=seconds))

    requests = ObjectRequests(connect, policy, f"{url.url} at {endpoint}", stores_headers=True)
    return _GoogleBucket(
        url.url,
        requests,
        read_url=read_url if access.can_sign or access.is_public else None,
        is_public=access.is_public,
    )


class _GoogleBucket(ObjectBucket):
    """A bucket of Google's. It honours conditional writes, and this program does not ask for its versions."""

    def __init__(self, *arguments: Any, is_public: bool, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._is_public = is_public

    def put(self, key: str, data: Buffer, kind: Kind, *, overwrite: bool = False) -> bool:
        self._refuse_changes("put", key)
        return super().put(key, data, kind, overwrite=overwrite)

    def delete(self, key: str) -> None:
        self._refuse_changes("delete", key)
        super().delete(key)

    def signed_url(self, key: str, seconds: int) -> str:
        if self._read_url is None:
            raise Unsupported(
                f"sign a URL of {key} in {self.url}: only the key of a service account can: set {_FILES[0]} or {_KEY}"
            )
        return super().signed_url(key, seconds)

    def _refuse_changes(self, operation: str, key: str) -> None:
        if self._is_public:  # the client would ask the metadata server of a cloud machine for a token
            raise AccessDenied(
                f"{operation} {key} in {self.url}: requests without a key change nothing ({_ANONYMOUS} is set)"
            )


def read_settings() -> GoogleSettings:
    """Return how the variables have the server asked.

    Raises:
        InputError: variables contradict each other, or cannot be read.
        AccessDenied: no credential is named.
    """
    access, endpoint = _access(), _endpoint()
    if access.is_public:
        return GoogleSettings(endpoint, NOT_SET, Setting("true", _ANONYMOUS))
    return GoogleSettings(endpoint, Setting(access.words, access.named[0]), NOT_SET)


def _endpoint() -> Setting:
    given = config.first(_ENDPOINT)
    return Setting(plain_address(_ENDPOINT, given.value), _ENDPOINT) if given.value else Setting(_GOOGLE, "default")


def _only_to(endpoint: str) -> dict[str, str]:
    # With Google itself, tokens come from other hosts of its own.
    return {} if endpoint == _GOOGLE else only_to_host_of(endpoint)


def _access() -> _Access:
    """The one credential that the variables name."""
    config.drop_blank(*_READ_BY_THE_CLIENT, _FILES[2])
    access = _named_access()
    for name in (*_READ_BY_THE_CLIENT, *(_FILES[2:] if access.is_public else ())):
        if name in os.environ and name not in access.named:
            raise InputError(
                f"{name} is set beside {access.named[0]}, and the storage client would read both: unset one of them"
            )
    return access


def _named_access() -> _Access:
    if config.switch(_ANONYMOUS):
        return _Access({"skip_signature": True}, (_ANONYMOUS,), "none", is_public=True)
    if token := config.first(_TOKEN).value:
        return _Access({"bearer_token": token, "skip_signature": False}, (_TOKEN,), "a token")
    if key := config.first(_KEY).value:
        words = "the key of a service account"
        return _Access({"service_account_key": key, "skip_signature": False}, (_KEY,), words, can_sign=True)
    path, name = config.first(*_FILES)
    if not path:
        raise AccessDenied(
            f"no credential for Google Cloud Storage: set {_FILES[0]} or GOOGLE_APPLICATION_CREDENTIALS to the file of "
            f"a service account's key, or {_ANONYMOUS}=true for a public bucket"
        )
    named = (name, *_FILES, "SERVICE_ACCOUNT")
    if _type_of(name, path) == "service_account":
        words = f"the key of a service account in {path}"
        return _Access({"service_account": path, "skip_signature": False}, named, words, can_sign=True)
    words = f"the credential in {path}"
    return _Access({"application_credentials": path, "skip_signature": False}, (name, _FILES[2]), words)


def _type_of(name: str, path: str) -> str:
    """What kind of credential a file holds. name: the variable that names it."""
    try:
        return _CREDENTIAL_FILES.decode(Path(path).read_bytes()).type
    except OSError as error:
        raise InputError(f"{name} {path} cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InputError(f"{name} {path} is no credential file of Google's: it holds no JSON") from None
