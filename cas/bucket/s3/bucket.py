"""From the settings of S3 to a bucket: every option of its clients is given, so that no variable of theirs counts."""

from __future__ import annotations

import datetime
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

from obstore import sign
from obstore.store import ObjectStore, S3Store

from cas import config
from cas.bucket.client_options import NO_RETRIES, client_options, make_store
from cas.bucket.object_requests import ObjectRequests
from cas.bucket.object_store import ObjectBucket, ReadUrl
from cas.bucket.redirects import only_to_host_of
from cas.bucket.retry import RetryPolicy
from cas.bucket.s3.admin import S3Admin
from cas.bucket.s3.settings import S3Settings, read_settings
from cas.bucket.urls import StoreUrl

_REFUSE_CONDITIONAL_WRITES = (".backblazeb2.com",)

# obstore takes these variables beside its options, and has no option that means none.
_HAVE_NO_NEUTRAL_VALUE = (
    "AWS_CHECKSUM_ALGORITHM",
    "AWS_SERVER_SIDE_ENCRYPTION",
    "AWS_SSE_KMS_KEY_ID",
    "AWS_SSE_BUCKET_KEY_ENABLED",
    "AWS_SSE_CUSTOMER_KEY_BASE64",
)


def open_s3(where: StoreUrl, policy: RetryPolicy) -> ObjectBucket:
    """Return the bucket at an `s3://` URL; makes no request.

    Args:
        where: the URL.
        policy: time limits and retries.

    Raises:
        AccessDenied: no S3 credentials can be found.
        InputError: a variable or a profile holds something that cannot be used.
    """
    settings = read_settings(where.bucket, where.profile)
    options = _options(settings)
    config.drop_blank(*_HAVE_NO_NEUTRAL_VALUE)

    def connect(reading: bool, **further: Any) -> ObjectStore:
        http = client_options(settings.address, policy, settings.ca_bundle, reading=reading)
        make = partial(
            S3Store,
            where.bucket,
            prefix=where.prefix or None,
            client_options=http | only_to_host_of(settings.address),
            retry_config=NO_RETRIES,
            **options,
            **further,
        )
        return make_store(where.url, make, settings.ca_bundle)

    has_checksums = bool(settings.checksum.value)
    endpoint = settings.endpoint.value
    address_in_errors = f"{where.url} at {endpoint}" if endpoint else where.url
    return ObjectBucket(
        where.url,
        ObjectRequests(
            connect,
            policy,
            address_in_errors,
            stores_headers=True,
            connect_with_checksums=partial(connect, False, checksum_algorithm="SHA256") if not has_checksums else None,
        ),
        conditional=not (urlsplit(endpoint).hostname or "").endswith(_REFUSE_CONDITIONAL_WRITES),
        read_url=_signed if settings.is_signed else _unsigned(settings, where.prefix),
        s3_admin=S3Admin(where, settings),
        ca_bundle=lambda: settings.ca_bundle.value,
    )


def _options(settings: S3Settings) -> dict[str, Any]:
    """Every option of S3Store that a variable could decide otherwise."""
    options: dict[str, Any] = {
        "region": settings.region.value,
        "aws_endpoint_url_s3": settings.address,
        "virtual_hosted_style_request": settings.is_virtual,
        "skip_signature": not settings.is_signed,
        # TLS protects what is sent; boto3, too, signs the bodies of requests over plain http only.
        "unsigned_payload": not settings.address.startswith("http://"),
        "request_payer": bool(settings.payer.value),
        "s3_express": False,
        "disable_tagging": False,
        "imdsv1_fallback": False,
        "copy_if_not_exists": "multipart",
        # Keys are deleted one at a time: DeleteObjects saves no request then, and some servers have none.
        "disable_bulk_delete": True,
        "conditional_put": "etag",
        "credential_provider": _credentials(settings),
    }
    if settings.checksum.value:
        options["checksum_algorithm"] = settings.checksum.value
    if settings.encryption.value:
        options["server_side_encryption"] = settings.encryption.value
    if settings.kms_key.value:
        options["sse_kms_key_id"] = settings.kms_key.value
    if settings.bucket_key.value:
        options["sse_bucket_key_enabled"] = settings.bucket_key.value
    return options


def _credentials(settings: S3Settings) -> Any:
    """A function that gives obstore the key: as an option, a key without a token gets that of AWS_TOKEN beside it."""
    if settings.is_signed and not settings.key.value:
        from cas.bucket.s3.boto3_client import find_credentials

        return find_credentials(settings.profile)
    key, secret, token = settings.key.value, settings.secret.value, settings.token.value or None
    return lambda: {"access_key_id": key, "secret_access_key": secret, "token": token, "expires_at": None}


def _signed(client: ObjectStore, key: str, seconds: int) -> str:
    assert isinstance(client, S3Store)
    return sign(client, "GET", key, datetime.timedelta(seconds=seconds))


def _unsigned(settings: S3Settings, prefix: str) -> ReadUrl:
    """The URLs of a bucket that everybody may read."""
    parts = [
        settings.address,
        *([] if settings.is_virtual else [settings.bucket]),
        *([quote(prefix)] if prefix else []),
    ]
    return lambda client, key, seconds: "/".join([*parts, quote(key)])
