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
from cas.config import NOT_SET, Setting
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


class AzureSettings(NamedTuple):
    """A storage account, how to ask it, and where each setting comes from.

    Attributes:
        account: the account's name.
        endpoint: the URL of its blobs.
        key: the account's key, which signs URLs, too; empty where another credential counts.
        token: a shared access signature (SAS); likewise.
        anonymous: `true` where requests go without any credential; else empty.
    """

    account: Setting
    endpoint: Setting
    key: Setting = NOT_SET
    token: Setting = NOT_SET
    anonymous: Setting = NOT_SET

    @property
    def credential(self) -> dict[str, Any]:
        """What AzureStore needs to authorize requests, as keyword arguments."""
        if self.key.value:
            return {"account_key": self.key.value, "credential_type": "access_key", "skip_signature": False}
        if self.token.value:
            return {"sas_key": self.token.value.lstrip("?"), "credential_type": "sas_token", "skip_signature": False}
        return {"skip_signature": True}


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
    settings = read_settings()
    endpoint = settings.endpoint.value

    def connect(reading: bool) -> ObjectStore:
        options = client_options(endpoint, policy, config.ca_bundle(), reading=reading) | only_to_host_of(endpoint)
        make = lambda: AzureStore(  # noqa: E731
            url.bucket,
            prefix=url.prefix or None,
            account_name=settings.account.value,
            endpoint=endpoint,
            use_emulator=False,
            use_fabric_endpoint=False,
            client_options=options,
            retry_config=NO_RETRIES,
            **settings.credential,
        )
        return make_store(
            url.url, make, config.ca_bundle(), "check AZURE_STORAGE_KEY and the other AZURE_STORAGE_ variables"
        )

    read_url: ReadUrl | None = None
    if settings.key.value:
        read_url = _signed
    elif settings.anonymous.value:
        below = "/".join(part for part in (endpoint, url.bucket, url.prefix) if part)
        read_url = lambda client, key, seconds: f"{below}/{key}"  # noqa: E731
    requests = ObjectRequests(connect, policy, f"{url.url} at {endpoint}", stores_headers=True)
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


def read_settings() -> AzureSettings:
    """Return the storage account that the variables name: those of the connection string, else the single ones.

    Raises:
        InputError: a variable cannot be read.
        AccessDenied: no account, or no credential, is named.
    """
    fields = _connection_string()

    def setting(field: str, *names: str) -> Setting:
        return Setting(fields[field], f"{field} in {_CONNECTION}") if fields.get(field) else config.first(*names)

    source = _CONNECTION if fields else ""
    account, endpoint = setting("AccountName", *_ACCOUNT), setting("BlobEndpoint", *_ENDPOINT)
    if endpoint.value:
        endpoint = endpoint._replace(value=plain_address(endpoint.source, endpoint.value))
    if not account.value and endpoint.value:  # https://account.blob.core.windows.net
        account = Setting(endpoint.value.partition("://")[2].partition(".")[0], endpoint.source)
    if not account.value:
        raise AccessDenied(
            f"no Azure storage account, as az:// names the container alone: set {_CONNECTION}, or {_ACCOUNT[0]} with "
            f"{_KEY[0]} or {_SAS[0]}"
        )
    if not _ACCOUNT_NAME.fullmatch(account.value):
        raise InputError(f"{source or _ACCOUNT[0]}: no storage account is called {account.value!a}")
    if not endpoint.value:
        suffix = fields.get("EndpointSuffix") or "core.windows.net"
        protocol = fields.get("DefaultEndpointsProtocol") or "https"
        address = plain_address(source or _ACCOUNT[0], f"{protocol}://{account.value}.blob.{suffix}")
        endpoint = Setting(address, "the account")
    if config.switch(_ANONYMOUS):
        return AzureSettings(account, endpoint, anonymous=Setting("true", _ANONYMOUS))
    if (key := setting("AccountKey", *(() if fields else _KEY))).value:
        return AzureSettings(account, endpoint, key=key)
    if (token := setting("SharedAccessSignature", *_SAS)).value:
        return AzureSettings(account, endpoint, token=token)
    raise AccessDenied(
        f"no credential for the Azure storage account {account.value}: set {_KEY[0]}, {_SAS[0]} or {_CONNECTION}, "
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
