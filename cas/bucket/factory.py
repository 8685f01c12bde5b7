"""From a store URL and the user's standard variables to a bucket."""

from __future__ import annotations

import datetime
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from obstore import sign
from obstore.store import HTTPStore, LocalStore, MemoryStore, ObjectStore, S3Store

from cas.bucket.base import Bucket
from cas.bucket.object_requests import ObjectRequests
from cas.bucket.object_store import ObjectBucket
from cas.bucket.redirects import only_to_host_of
from cas.bucket.retry import RetryPolicy
from cas.bucket.s3_admin import S3Admin
from cas.bucket.urls import StoreUrl, parse, plain_address
from cas.errors import AccessDenied, CacheError, InputError

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")

# obstore's own retries are off: they repeat a 501, and they look like progress from outside.
_NO_RETRIES: Any = {"max_retries": 0}
_NO_LIMIT = datetime.timedelta(hours=1)

_REGION_IN_HOST = re.compile(
    r"^(?:s3(?:-fips)?[.-](?:dualstack\.)?(?P<a>[a-z]{2}[a-z0-9-]*-\d{1,3})\.|(?P<b>[a-z]{3}\d)\.digitaloceanspaces\.com$)"
)
_REFUSE_CONDITIONAL_WRITES = (".backblazeb2.com",)


def open_bucket(url: str, policy: RetryPolicy | None = None) -> Bucket:
    """Return the bucket at `url`; makes no request.

    Args:
        url: `s3://bucket/prefix`, `az://container/prefix`, `gs://bucket/prefix`, `https://host/path` (read only; plain
            http for a local server), a `file:` URL, a path, or `memory:` for tests.
        policy: time limits and retries; the default ones when None.

    Raises:
        InputError: the URL has another scheme, or an address carries more than an address.
        AccessDenied: no credentials can be found.
        CacheError: the directory cannot be used.
    """
    policy = policy or RetryPolicy()
    where = parse(url)
    if where.scheme == "memory":
        store = MemoryStore()
        return ObjectBucket(url, ObjectRequests(lambda reading: store, policy, url, stores_headers=False), remote=False)
    if where.scheme == "s3":
        return _s3(where, policy)
    if where.scheme == "az":
        from cas.bucket.azure import open_azure

        return open_azure(where, policy)
    if where.scheme == "gs":
        from cas.bucket.google import open_google

        return open_google(where, policy)
    if where.scheme == "file":
        return _directory(Path(where.url), policy)
    return _http(where.url, policy)


def _directory(path: Path, policy: RetryPolicy) -> Bucket:
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            raise CacheError(f"store {path} is a file: name a directory")
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:  # ValueError: a NUL
        raise CacheError(f"store {path} cannot be used: {getattr(error, 'strerror', error)}") from error

    def connect(reading: bool) -> ObjectStore:
        # Reading must not create the directory that it looks for; obstore wants it to exist.
        if reading and not path.is_dir():
            return MemoryStore()
        try:
            return LocalStore(path, mkdir=True)
        except Exception as error:
            raise CacheError(f"store {path} cannot be created: {str(error).splitlines()[0]}") from error

    from cas.bucket.directory import DirectoryBucket, DirectoryRequests

    return DirectoryBucket(str(path), DirectoryRequests(connect, policy, path))


def _http(url: str, policy: RetryPolicy) -> Bucket:
    def connect(reading: bool) -> ObjectStore:
        options = _client_options(url, policy, reading)
        if options["allow_http"]:  # without it, https may redirect to https alone: a hub does so to its storage
            options |= only_to_host_of(url)
        return _made(url, lambda: HTTPStore.from_url(url, client_options=options, retry_config=_NO_RETRIES))

    requests = ObjectRequests(connect, policy, url, stores_headers=True)
    return ObjectBucket(url, requests, writable=False, read_url=lambda client, key, seconds: f"{url}/{key}")


def _s3(where: StoreUrl, policy: RetryPolicy) -> Bucket:
    url, bucket, prefix = where.url, where.bucket, where.prefix
    credentials = _credentials()
    endpoint = _endpoint(credentials)
    host = urlsplit(endpoint).hostname or ""
    region = _region(host, credentials)
    address = endpoint or f"https://{bucket}.s3.{region}.amazonaws.com"

    def connect(reading: bool) -> ObjectStore:
        options = _client_options(address, policy, reading) | only_to_host_of(address)
        make = lambda: S3Store(  # noqa: E731
            bucket,
            prefix=prefix or None,
            region=region,
            # Always given: obstore reads the variables, too, and panics at one that is set but empty.
            aws_endpoint_url_s3=address,
            virtual_hosted_style_request=not endpoint,
            # TLS protects what is sent; boto3, too, signs the bodies of requests over plain http only.
            unsigned_payload=not endpoint.startswith("http://"),
            client_options=options,
            retry_config=_NO_RETRIES,
            **credentials,
        )
        return _made(url, make)

    keys_for_boto3 = {f"aws_{name}": value for name, value in credentials.items() if name != "credential_provider"}
    address_in_errors = f"{url} at {endpoint}" if endpoint else url
    return ObjectBucket(
        url,
        ObjectRequests(connect, policy, address_in_errors, stores_headers=True),
        conditional=not host.endswith(_REFUSE_CONDITIONAL_WRITES),
        read_url=_signed,
        s3_admin=S3Admin(url, bucket, prefix, endpoint, region, keys_for_boto3),
    )


def _signed(client: ObjectStore, key: str, seconds: int) -> str:
    assert isinstance(client, S3Store)
    return sign(client, "GET", key, datetime.timedelta(seconds=seconds))


def _endpoint(credentials: dict[str, Any]) -> str:
    """AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, or the profile's endpoint_url; empty for AWS itself."""
    for name in _ENDPOINTS:
        if url := os.environ.get(name):
            return plain_address(name, url)
    if "credential_provider" not in credentials:
        return ""
    import boto3

    url = str(boto3.Session().client("s3", region_name="us-east-1").meta.endpoint_url)
    return "" if url.endswith(".amazonaws.com") else plain_address("endpoint_url of the profile", url)


def _made(url: str, make: Callable[[], ObjectStore], advice: str = "check the AWS_ variables") -> ObjectStore:
    try:
        return make()
    except BaseException as error:
        from cas.bucket.errors import is_panic

        if not isinstance(error, Exception) and not is_panic(error):
            raise
        bundle = os.environ.get("AWS_CA_BUNDLE")
        if bundle and "Access Key" not in str(error):
            advice = f"check that AWS_CA_BUNDLE {bundle} holds certificates (PEM)"
        raise InputError(f"store {url} cannot be opened ({str(error).splitlines()[0]}): {advice}") from error


def _credentials() -> dict[str, Any]:
    """What S3Store needs to sign: the keys in the variables, or what boto3's credential chain finds."""
    key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if key and secret:
        token = os.environ.get("AWS_SESSION_TOKEN")
        return {"access_key_id": key, "secret_access_key": secret, **({"session_token": token} if token else {})}
    if key or secret:
        missing = "AWS_SECRET_ACCESS_KEY" if key else "AWS_ACCESS_KEY_ID"
        raise AccessDenied(f"{missing} is not set beside its twin: set both")
    import boto3
    from botocore.exceptions import BotoCoreError
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        session = boto3.Session()
        if session.get_credentials() is None:
            raise AccessDenied("no S3 credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE")
    except BotoCoreError as error:
        raise AccessDenied(f"S3 credentials cannot be used: {error}") from error
    # boto3 vouches for credentials for the next ten minutes; by default obstore would go on using them for twenty-five.
    return {"credential_provider": Boto3CredentialProvider(session, ttl=datetime.timedelta(minutes=10))}


def _region(host: str, credentials: dict[str, Any]) -> str:
    """AWS_REGION, AWS_DEFAULT_REGION, the profile's region, the one in the endpoint's host name, or us-east-1."""
    if named := os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
        return named
    if (provider := credentials.get("credential_provider")) and (region := provider.config.get("region")):
        return str(region)
    if found := _REGION_IN_HOST.match(host):
        return found["a"] or found["b"]
    return "auto" if host.endswith(".r2.cloudflarestorage.com") else "us-east-1"


def _client_options(url: str, policy: RetryPolicy, reading: bool) -> Any:
    options: dict[str, Any] = {
        "connect_timeout": datetime.timedelta(seconds=policy.connect),
        # The deadlines of ObjectRequests bound a whole request, because they know its size.
        "timeout": _NO_LIMIT,
        "allow_http": url.startswith("http://"),
        "pool_idle_timeout": datetime.timedelta(seconds=20),
    }
    if reading:
        # obstore counts this time from the start of a request, upload included: only for requests without a body.
        options["read_timeout"] = datetime.timedelta(seconds=policy.silence)
    if bundle := os.environ.get("AWS_CA_BUNDLE"):
        try:
            options["root_certificate"] = Path(bundle).read_bytes()
        except OSError as error:
            raise InputError(f"AWS_CA_BUNDLE {bundle} cannot be read: {error.strerror}") from error
    return options
