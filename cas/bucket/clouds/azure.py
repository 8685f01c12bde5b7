"""Azure Blob Storage: from the variables of Azure's own tools to a bucket.

The client gets the account, the endpoint and one credential explicitly, and `credential_type`, which makes it leave out
every credential that its own reading of the environment finds.
"""

from __future__ import annotations

import datetime
import re
from typing import Any, NamedTuple

from obstore import sign
from obstore.store import AzureStore, ObjectStore

from cas import config
from cas.bucket.base import Bucket
from cas.bucket.client_options import NO_RETRIES, client_options, make_store
from cas.bucket.object_requests import ObjectRequests
from cas.bucket.object_store import ObjectBucket, ReadUrl
from cas.bucket.redirects import only_to_host_of
from cas.bucket.retry import RetryPolicy
from cas.bucket.urls import StoreUrl, plain_address
from cas.errors import AccessDenied, InputError, Unsupported

_ACCOUNT = ("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME")
_KEY = ("AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY")
_SAS = ("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY")
_CONNECTION = "AZURE_STORAGE_CONNECTION_STRING"
_ENDPOINT = ("AZURE_STORAGE_ENDPOINT", "AZURE_STORAGE_SERVICE_ENDPOINT")
_ANONYMOUS = "AZURE_SKIP_SIGNATURE"

# Of the emulator Azurite, published in its documentation: https://learn.microsoft.com/azure/storage/common/storage-use-azurite
_EMULATOR = {
    "AccountName": "devstoreaccount1",
    "AccountKey": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    "BlobEndpoint": "http://127.0.0.1:10000/devstoreaccount1",
}
_ACCOUNT_NAME = re.compile(r"[a-z0-9]{3,24}")
# https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
_CONTAINER_NAME = re.compile(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*|\$root|\$web")


class _Account(NamedTuple):
    """A storage account, and how to ask it.

    Attributes:
        name: the account's name.
        endpoint: the URL of its blobs.
        credential: what AzureStore needs to authorize requests, as keyword arguments.
        can_sign: whether URLs can be signed without a request: by the account's key.
        is_public: whether requests go without any credential.
    """

    name: str
    endpoint: str
    credential: dict[str, Any]
    can_sign: bool = False
    is_public: bool = False


def open_azure(url: StoreUrl, policy: RetryPolicy) -> Bucket:
    """Return the bucket of a container; makes no request.

    Args:
        url: `az://container/prefix`, parsed.
        policy: time limits and retries.

    Raises:
        InputError: the container's name is none that Azure allows, or a variable cannot be read.
        AccessDenied: no account, or no credential, is named.
    """
    if not _CONTAINER_NAME.fullmatch(url.bucket):
        raise InputError(
            f"store az://{url.bucket}: no container has this name: 3 to 63 lower-case letters, digits and single "
            "hyphens; write az://container/prefix, and the account into AZURE_STORAGE_ACCOUNT"
        )
    account = _account()

    def connect(reading: bool) -> ObjectStore:
        options = client_options(account.endpoint, policy, config.ca_bundle(), reading=reading) | only_to_host_of(
            account.endpoint
        )
        make = lambda: AzureStore(  # noqa: E731
            url.bucket,
            prefix=url.prefix or None,
            account_name=account.name,
            endpoint=account.endpoint,
            use_emulator=False,
            use_fabric_endpoint=False,
            client_options=options,
            retry_config=NO_RETRIES,
            **account.credential,
        )
        return make_store(
            url.url, make, config.ca_bundle(), "check AZURE_STORAGE_KEY and the other AZURE_STORAGE_ variables"
        )

    read_url: ReadUrl | None = None
    if account.can_sign:
        read_url = _signed
    elif account.is_public:
        below = "/".join(part for part in (account.endpoint, url.bucket, url.prefix) if part)
        read_url = lambda client, key, seconds: f"{below}/{key}"  # noqa: E731
    requests = ObjectRequests(connect, policy, f"{url.url} at {account.endpoint}", stores_headers=True)
    return _AzureBucket(url.url, requests, read_url=read_url)


class _AzureBucket(ObjectBucket):
    """A container. Azure honours conditional writes, and its versions need no deletion of their own here."""

    def signed_url(self, key: str, seconds: int) -> str:
        if self._read_url is None:
            # A SAS token would show itself whole, and what it may do, in every URL.
            raise Unsupported(f"sign a URL of {key} in {self.url}: only the account's key can: set AZURE_STORAGE_KEY")
        return super().signed_url(key, seconds)


def _signed(client: ObjectStore, key: str, seconds: int) -> str:
    assert isinstance(client, AzureStore)
    return sign(client, "GET", key, datetime.timedelta(seconds=seconds))


def _account() -> _Account:
    """The storage account that the variables name: those of the connection string, else the single ones."""
    settings = _connection_string()
    source = _CONNECTION if settings else ""
    name = settings.get("AccountName") or config.first(*_ACCOUNT).value
    endpoint, endpoint_name = config.first(*_ENDPOINT)
    if given := settings.get("BlobEndpoint"):
        endpoint_name, endpoint = f"BlobEndpoint in {_CONNECTION}", given
    endpoint = plain_address(endpoint_name, endpoint) if endpoint else ""
    if not name and endpoint:  # https://account.blob.core.windows.net
        name = endpoint.partition("://")[2].partition(".")[0]
    if not name:
        raise AccessDenied(
            f"no Azure storage account, as az:// names the container alone: set {_CONNECTION}, or {_ACCOUNT[0]} with "
            f"{_KEY[0]} or {_SAS[0]}"
        )
    if not _ACCOUNT_NAME.fullmatch(name):
        raise InputError(f"{source or _ACCOUNT[0]}: no storage account is called {name!a}")
    if not endpoint:
        suffix = settings.get("EndpointSuffix") or "core.windows.net"
        protocol = settings.get("DefaultEndpointsProtocol") or "https"
        endpoint = plain_address(source or _ACCOUNT[0], f"{protocol}://{name}.blob.{suffix}")
    if config.switch(_ANONYMOUS):
        return _Account(name, endpoint, {"skip_signature": True}, is_public=True)
    if key := settings.get("AccountKey") or (not settings and config.first(*_KEY).value):
        credential = {"account_key": key, "credential_type": "access_key", "skip_signature": False}
        return _Account(name, endpoint, credential, can_sign=True)
    if token := settings.get("SharedAccessSignature") or config.first(*_SAS).value:
        credential = {"sas_key": token.lstrip("?"), "credential_type": "sas_token", "skip_signature": False}
        return _Account(name, endpoint, credential)
    raise AccessDenied(
        f"no credential for the Azure storage account {name}: set {_KEY[0]}, {_SAS[0]} or {_CONNECTION}, "
        f"or {_ANONYMOUS}=true for a public container"
    )


def _connection_string() -> dict[str, str]:
    """The fields of the connection string, by name; empty where it is not set.

    Its form: https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string
    """
    text = config.first(_CONNECTION).value
    fields = {}
    for field in filter(None, (field.strip() for field in text.split(";"))):
        name, equals, value = field.partition("=")
        if not equals:
            raise InputError(f"{_CONNECTION}: a field has no value: write it as the Azure portal shows it")
        fields[name.strip()] = value.strip()
    if fields.get("UseDevelopmentStorage", "").lower() == "true":
        return _EMULATOR | {name: value for name, value in fields.items() if name in _EMULATOR}
    return fields
