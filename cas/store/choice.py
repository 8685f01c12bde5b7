"""Which store a command means."""

from __future__ import annotations

import os

from cas import config
from cas.errors import InputError

# Variables whose owner means S3: credentials in each of the ways that boto3 knows, and endpoints.
_SPEAK_OF_S3 = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
)


def store_url(given: str | None = None) -> str:
    """The store: `given`, else CAS_STORE, else s3://$S3_BUCKET/cas, else a directory in the user's data home.

    A script whose secret is empty must not write elsewhere, with success: so a name that is set and empty is an error,
    and so is the default directory beside variables that speak of S3.

    Raises:
        InputError: what names the store is empty; or nothing names it, and the variables speak of S3, or the user has
            no home directory.
    """
    if given is not None:
        return _not_empty("--store", given)
    if config.is_set("CAS_STORE"):
        return _not_empty("CAS_STORE", config.read("CAS_STORE"))
    if config.is_set("S3_BUCKET"):
        _not_empty("S3_BUCKET", config.read("S3_BUCKET"))
        return f"s3://{config.bucket_name()}/cas"
    data_home = config.read("XDG_DATA_HOME")
    if not data_home:
        data_home = str(config.home_directory("name the store: --store or CAS_STORE") / ".local/share")
    default = os.path.join(data_home, "model-cas")
    if of_s3 := [name for name in _SPEAK_OF_S3 if config.read(name)]:
        raise InputError(
            f"no store is chosen, and {of_s3[0]} is set: choose one with S3_BUCKET, CAS_STORE=s3://bucket/prefix or "
            f"--store; --store {default} is the folder that is taken where no variable speaks of S3"
        )
    return default


def source_of_store(given: str | None = None) -> str:
    """What names the store: the call, a variable, or the default. given: what the caller names."""
    return "the call" if (given or "").strip() else config.first("CAS_STORE", "S3_BUCKET").source or "default"


def _not_empty(name: str, value: str) -> str:
    if text := value.strip():
        return text
    raise InputError(
        f"{name} is set and empty, so that nothing says which store is meant: set it to one, or unset it"
        if name != "--store"
        else "--store is empty: name a store, as in --store s3://bucket/prefix, or leave it out"
    )
