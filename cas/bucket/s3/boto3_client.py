"""boto3 with settings of ours: its client for what obstore lacks, and its chain for keys that no variable holds.

botocore reads thirty variables by itself, and fails at empty ones. So its sessions here look at no variable: what
counts comes from cas/config.py. (A provider of keys in the chain still reads its own, such as those of a container.)
"""

from __future__ import annotations

import datetime
import os
from typing import Any

from cas import config
from cas.bucket.s3.settings import S3Settings
from cas.errors import AccessDenied, InputError

_ATTEMPTS = 8  # Backblaze B2 answers 503 by design


def find_credentials(profile: str = "") -> Any:
    """Return a provider for obstore of the key that boto3's chain finds: a profile's, SSO's, a machine's role.

    Args:
        profile: the profile that the store's URL names; empty for the one that the variables name.

    Raises:
        AccessDenied: it finds none, or one that cannot be used.
    """
    import boto3
    from botocore.exceptions import BotoCoreError
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        session = boto3.Session(botocore_session=_session(chain=True, profile=profile))
        if session.get_credentials() is None:
            raise AccessDenied(
                "no S3 credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or "
                "AWS_SKIP_SIGNATURE=true for a public bucket"
            )
    except BotoCoreError as error:
        raise AccessDenied(f"S3 credentials cannot be used: {error}") from error
    # boto3 vouches for credentials for the next ten minutes; by default obstore would go on using them for twenty-five.
    provider = Boto3CredentialProvider(session, ttl=datetime.timedelta(minutes=10))
    provider.config = {}  # the region is chosen in cas/bucket/s3/settings.py
    return provider


def make_client(settings: S3Settings) -> Any:
    """Return boto3's client for a bucket's server."""
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    options = Config(
        connect_timeout=5,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        s3={
            "addressing_style": settings.addressing.value,
            "use_accelerate_endpoint": False,
            "use_dualstack_endpoint": False,
        },
        # Older servers reject the checksums that newer versions of boto3 send unasked.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # The endpoint is named; botocore refuses a named one beside these two.
        use_fips_endpoint=False,
        use_dualstack_endpoint=False,
        **({} if settings.is_signed else {"signature_version": UNSIGNED}),
    )
    keys = {
        "aws_access_key_id": settings.key.value or None,
        "aws_secret_access_key": settings.secret.value or None,
        "aws_session_token": settings.token.value or None,
    }
    authority = settings.ca_bundle.value or config.read("SSL_CERT_FILE")
    # A session of its own: boto3's default session must not be used by several threads.
    session = _session(chain=settings.is_signed and not settings.key.value, profile=settings.profile)
    client = boto3.Session(botocore_session=session).client(
        "s3",
        endpoint_url=settings.server,
        region_name=settings.region.value,
        config=options,
        **({"verify": authority} if authority else {}),
        **keys,
    )
    if settings.payer.value:
        client.meta.events.register("before-call.s3", _pay)
    return client


def _pay(params: Any, **_: object) -> None:
    params["headers"]["x-amz-request-payer"] = "requester"


def _session(*, chain: bool, profile: str = "") -> Any:
    """A session of botocore that looks at no variable.

    Args:
        chain: whether it looks for a key, in the files and with the settings that the user's variables name.
        profile: whose key it looks for, in place of one in the variables; empty for none.
    """
    from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES
    from botocore.session import Session

    known: dict[str, tuple[Any, Any, Any, Any]] = BOTOCORE_DEFAUT_SESSION_VARIABLES
    session = Session({name: (key, None, default, cast) for name, (key, _, default, cast) in known.items()})
    if not chain:
        for name in ("config_file", "credentials_file"):
            session.set_config_variable(name, os.devnull)
        return session
    for name, (_, variables, _, cast) in known.items():
        found = config.first(*([variables] if isinstance(variables, str) else variables or ()))
        if found.value:
            try:
                session.set_config_variable(name, cast(found.value) if cast else found.value)
            except ValueError:
                raise InputError(f"{found.source} is {found.value!a}: write a number, or leave it unset") from None
    if profile:
        session.set_config_variable("profile", profile)
    return session
