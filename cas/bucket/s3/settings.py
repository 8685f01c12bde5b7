"""What the variables and the user's profile say about S3: read once, checked, each with its source.

Nothing else of this program reads a variable for S3: the clients, obstore and boto3, get every option from here, and
no variable of their own counts (docs/operations/set-up.md, "Settings").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from cas import config
from cas.bucket.s3.profile import Profile, read_profile
from cas.bucket.urls import plain_address
from cas.config import Setting
from cas.errors import AccessDenied, InputError

ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")

# Domains of AWS by the beginning of the region's name, as botocore 1.44 has them in partitions.json (tests compare).
_PARTITIONS = {
    "cn-": "amazonaws.com.cn",
    "us-iso-": "c2s.ic.gov",
    "us-isob-": "sc2s.sgov.gov",
    "eu-isoe-": "cloud.adc-e.uk",
    "us-isof-": "csp.hci.ic.gov",
    "eusc-": "amazonaws.eu",
}
_REGION_IN_HOST = re.compile(
    r"^(?:s3(?:-fips)?[.-](?:dualstack\.)?(?P<a>[a-z]{2}[a-z0-9-]*-\d{1,3})\.|(?P<b>[a-z]{3}\d)\.digitaloceanspaces\.com$)"
)
_REGION_OF_AWS = r"[a-z]{2,4}(-[a-z]+)+-\d{1,2}"
_ENCRYPTIONS = {
    "aes256": "AES256",
    "aws:kms": "aws:kms",
    "sse:kms": "aws:kms",  # what obstore's own messages call it
    "aws:kms:dsse": "aws:kms:dsse",
    "sse:kms:dsse": "aws:kms:dsse",
}
_OTHER_KEYS = ("role_arn", "sso_session", "sso_start_url")  # where a profile has one, botocore prefers it to the key
_NAME_FOR_TLS = r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]"  # a bucket with another name has no certificate of its own


@dataclass(frozen=True, slots=True)
class S3Settings:
    """Everything that a client of one bucket is told.

    Attributes:
        bucket: the bucket's name.
        endpoint: the server's URL; empty for AWS itself.
        region: the region to sign for.
        addressing: `virtual` names the bucket in the host, `path` in the path.
        server: the URL of the server, without the bucket's name.
        address: the same; with the bucket's name before its host where `addressing` is `virtual`.
        signed: whether requests are signed.
        key: the key's id; empty where boto3's chain finds the key, or nothing is signed.
        secret: the key's secret.
        token: the token of a key that expires.
        checksum: `SHA256` where every write carries a checksum; else empty.
        encryption: how the server encrypts what is written, as obstore names it; empty for the bucket's default.
        kms_key: the key of KMS that it encrypts with.
        bucket_key: `true` or `false`: whether it asks KMS once for many objects; empty for the bucket's default.
        payer: `requester` where the key's owner pays; else empty.
        ca_bundle: the file of a private certificate authority.
        profile: the profile that the store's URL names, whose key boto3's chain finds where `key` is empty; else empty.
    """

    bucket: str
    endpoint: Setting
    region: Setting
    addressing: Setting
    server: str
    address: str
    signed: Setting
    key: Setting
    secret: Setting
    token: Setting
    checksum: Setting
    encryption: Setting
    kms_key: Setting
    bucket_key: Setting
    payer: Setting
    ca_bundle: Setting
    profile: str = ""

    @property
    def is_signed(self) -> bool:
        """Whether requests are signed."""
        return self.signed.value == "true"

    @property
    def is_virtual(self) -> bool:
        """Whether requests name the bucket in the host."""
        return self.addressing.value == "virtual"


def read_settings(bucket: str, in_url: str = "") -> S3Settings:
    """Return what the variables and the profile say about a bucket.

    Args:
        bucket: its name.
        in_url: the profile that its URL names, which then says alone which server, region and key; empty for none.

    Raises:
        AccessDenied: one half of a key is missing.
        InputError: a variable or a profile holds something that cannot be used; the message names it.
    """
    if in_url:
        profile = read_profile(in_url, must_exist=True)
        signed, key, secret, token = _signing_of(profile)
    else:
        signed, key, secret, token = _signing()
        profile = read_profile(must_exist=bool(key.value))
    endpoint = _endpoint(profile)
    region = _region(profile, urlsplit(endpoint.value).hostname or "")
    if not endpoint.value and not re.fullmatch(_REGION_OF_AWS, region.value):
        raise InputError(
            f"{region.source} is {region.value!a}, which is no region of AWS, and no endpoint is set: set "
            "AWS_ENDPOINT_URL to the server's URL"
        )
    addressing = _addressing(profile, bucket, endpoint.value)
    virtual = addressing.value == "virtual"
    server = endpoint.value or _of_aws(profile, region.value)
    if virtual:  # consoles of some providers show the endpoint with the bucket's name in it
        server = server.replace(f"://{bucket}.", "://", 1)
    encryption, kms_key, bucket_key = _encryption()
    authority = config.first("AWS_CA_BUNDLE")
    authority = authority if authority.value else profile.get("ca_bundle")
    if config.switch("AWS_S3_EXPRESS"):
        raise InputError("AWS_S3_EXPRESS is set, and directory buckets are not supported: use a general purpose bucket")
    return S3Settings(
        bucket=bucket,
        endpoint=endpoint,
        region=region,
        addressing=addressing,
        server=server,
        address=server.replace("://", f"://{bucket}.", 1) if virtual else server,
        signed=signed,
        key=key,
        secret=secret,
        token=token,
        checksum=_one_of("AWS_CHECKSUM_ALGORITHM", {"sha256": "SHA256"}),
        encryption=encryption,
        kms_key=kms_key,
        bucket_key=bucket_key,
        payer=_payer(),
        ca_bundle=authority if authority.value else config.ca_bundle(),
        profile=in_url,
    )


def _signing() -> tuple[Setting, Setting, Setting, Setting]:
    """Whether requests are signed; then the key, its secret and its token in the variables."""
    none = Setting("", "")
    for name in ("AWS_SKIP_SIGNATURE", "AWS_NO_SIGN_REQUEST"):
        if config.switch(name):
            return Setting("false", name), none, none, none
    key, secret = _secret("AWS_ACCESS_KEY_ID"), _secret("AWS_SECRET_ACCESS_KEY")
    if bool(key.value) != bool(secret.value):
        missing = "AWS_SECRET_ACCESS_KEY" if key.value else "AWS_ACCESS_KEY_ID"
        raise AccessDenied(f"{missing} is not set beside its twin: set both")
    token = _secret("AWS_SESSION_TOKEN") if key.value else none
    return Setting("true", "default"), key, secret, token


def _signing_of(profile: Profile) -> tuple[Setting, Setting, Setting, Setting]:
    """As `_signing`, of a profile in a URL; no key where boto3's chain has to make one of what the profile says."""
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    key, secret, token = (_checked(profile.get(name)) for name in names)
    if not key.value or not secret.value or any(profile.get(name).value for name in _OTHER_KEYS):
        key = secret = token = Setting("", "")
    return Setting("true", "default"), key, secret, token


def _secret(name: str) -> Setting:
    return _checked(config.first(name))


def _checked(found: Setting) -> Setting:
    if not re.fullmatch(r"[\x21-\x7e]*", found.value):
        raise InputError(
            f"{found.source} holds a blank, a line end or another character that no key has: copy it again"
        )
    return found


def _endpoint(profile: Profile) -> Setting:
    """The variables' or the profile's endpoint; empty for AWS itself."""
    ignored = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"
    if not profile.in_url and _switch(ignored, profile.get("ignore_configured_endpoint_urls")).value == "true":
        return Setting("", ignored)
    found = profile.variable(*ENDPOINTS)
    found = found if found.value else profile.endpoint()
    if not found.value:
        return Setting("", "default")
    return Setting(plain_address(found.source, found.value), found.source)


def _region(profile: Profile, host: str) -> Setting:
    """The variables' region, the profile's, the one in the endpoint's host name, or us-east-1."""
    named = profile.variable("AWS_REGION", "AWS_DEFAULT_REGION")
    named = named if named.value else profile.get("region")
    if named.value:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", named.value):
            raise InputError(f"{named.source} is {named.value!a}: write a region's name, as in us-east-1")
        return named
    if found := _REGION_IN_HOST.match(host):
        return Setting(found["a"] or found["b"], "the endpoint's host")
    if host.endswith(".r2.cloudflarestorage.com"):
        return Setting("auto", "the endpoint's host")
    return Setting("us-east-1", "default")


def _addressing(profile: Profile, bucket: str, endpoint: str) -> Setting:
    """How requests name the bucket: as told, else in the path at an endpoint, and in the host at AWS if possible."""
    name = "AWS_VIRTUAL_HOSTED_STYLE_REQUEST"
    if not profile.in_url and (given := config.switch(name)) is not None:
        return Setting("virtual" if given else "path", name)
    of_profile = profile.of_s3("addressing_style")
    if of_profile.value in ("virtual", "path"):
        return of_profile
    if of_profile.value not in ("", "auto"):
        raise InputError(f"{of_profile.source} is {of_profile.value!a}: write virtual, path or auto")
    if endpoint:
        return Setting("path", "default for an endpoint")
    if re.fullmatch(_NAME_FOR_TLS, bucket):
        return Setting("virtual", "default for AWS")
    return Setting("path", "the bucket's name")


def _of_aws(profile: Profile, region: str) -> str:
    fips = _switch("AWS_USE_FIPS_ENDPOINT", profile.get("use_fips_endpoint")).value == "true"
    of_profile = profile.of_s3("use_dualstack_endpoint")
    of_profile = of_profile if of_profile.value else profile.get("use_dualstack_endpoint")
    dualstack = _switch("AWS_USE_DUALSTACK_ENDPOINT", of_profile).value == "true"
    domain = next((found for begin, found in _PARTITIONS.items() if region.startswith(begin)), "amazonaws.com")
    return f"https://s3{'-fips' * fips}{'.dualstack' * dualstack}.{region}.{domain}"


def _encryption() -> tuple[Setting, Setting, Setting]:
    """How the server encrypts what is written, with which key of KMS, and whether with a key of the bucket."""
    for_customers = "AWS_SSE_CUSTOMER_KEY_BASE64"
    if config.read(for_customers) or config.read("AWS_SERVER_SIDE_ENCRYPTION").lower() == "sse-c":
        raise InputError(
            f"{for_customers} or sse-c asks for encryption with a key of your own (SSE-C), which is not supported: use "
            "AWS_SERVER_SIDE_ENCRYPTION=aws:kms, or the bucket's default encryption"
        )
    found = _one_of("AWS_SERVER_SIDE_ENCRYPTION", _ENCRYPTIONS)
    key, bucket_key = _secret("AWS_SSE_KMS_KEY_ID"), _switch("AWS_SSE_BUCKET_KEY_ENABLED", Setting("", ""))
    if (key.value or bucket_key.value) and not found.value.startswith("aws:kms"):
        name = key.source or bucket_key.source
        raise InputError(f"{name} is set without AWS_SERVER_SIDE_ENCRYPTION=aws:kms: set both, or none")
    return found, key, bucket_key


def _payer() -> Setting:
    name = "AWS_REQUEST_PAYER"
    given = config.switch(name, also=("requester",))
    return Setting("requester", name) if given else Setting("", name if given is False else "")


def _one_of(name: str, known: dict[str, str]) -> Setting:
    """A variable that holds one of these words, in any case; the value is what they stand for."""
    found = config.first(name)
    if found.value and found.value.lower() not in known:
        words = [word for word in known if not word.startswith("sse:")]
        raise InputError(f"{name} is {found.value!a}: write {' or '.join(words)}, or leave it unset")
    return Setting(known.get(found.value.lower(), ""), found.source)


def _switch(name: str, otherwise: Setting) -> Setting:
    """A switch as `true` or `false`: the variable's, else the profile's; empty where neither says it."""
    given = config.switch(name)
    if given is not None:
        return Setting(str(given).lower(), name)
    if not otherwise.value:
        return otherwise
    return Setting(str(config.truth(otherwise.source, otherwise.value)).lower(), otherwise.source)
