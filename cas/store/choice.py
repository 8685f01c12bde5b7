"""Which store a command means."""

from __future__ import annotations

import os

from cas import config
from cas.errors import InputError
from cas.local.config_file import default_store, is_store_name, named_store, read_config

# How a store of each kind is chosen, and variables whose owner means such a store: credentials, accounts, endpoints.
_SPEAK_OF_A_BUCKET = {
    "S3_BUCKET, CAS_STORE=s3://bucket/prefix": (  # credentials in each of the ways that boto3 knows
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_ENDPOINT_URL_S3",
        "AWS_ENDPOINT_URL",
    ),
    "CAS_STORE=az://container/prefix": (  # those of cas/bucket/clouds/azure.py (a test compares)
        "AZURE_STORAGE_CONNECTION_STRING",
        "AZURE_STORAGE_KEY",
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_ACCESS_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_STORAGE_SAS_KEY",
        "AZURE_STORAGE_ACCOUNT",
        "AZURE_STORAGE_ACCOUNT_NAME",
        "AZURE_STORAGE_ENDPOINT",
        "AZURE_STORAGE_SERVICE_ENDPOINT",
    ),
    "CAS_STORE=gs://bucket/prefix": (  # those of cas/bucket/clouds/google.py
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_SERVICE_ACCOUNT_PATH",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_SERVICE_ACCOUNT_KEY",
        "GOOGLE_BEARER_TOKEN",
        "GOOGLE_BASE_URL",
    ),
}


def store_url(given: str | None = None) -> str:
    """The store: `given`, else CAS_STORE, else s3://$S3_BUCKET/cas, else the configuration file's, else a directory.

    The directory is in the user's data home. `given`, CAS_STORE and the file may name a store of the file.

    A script whose secret is empty must not write elsewhere, with success: so a name that is set and empty is an error,
    and so is the default directory beside variables that speak of a bucket.

    Raises:
        InputError: what names the store is empty; it is a name that the configuration file lacks, or the file cannot be
            used; or nothing names it, and the variables speak of a bucket (of S3, of Azure, of Google), or the user has
            no home directory.
    """
    if given is not None:
        return named_store(_not_empty("--store", given), "--store")
    if config.is_set("CAS_STORE"):
        return named_store(_not_empty("CAS_STORE", config.read("CAS_STORE")), "CAS_STORE")
    if config.is_set("S3_BUCKET"):
        _not_empty("S3_BUCKET", config.read("S3_BUCKET"))
        return f"s3://{config.bucket_name()}/cas"
    if chosen := default_store().value:
        return chosen
    data_home = config.read("XDG_DATA_HOME")
    if not data_home:
        data_home = str(config.home_directory("name the store: --store or CAS_STORE") / ".local/share")
    default = os.path.join(data_home, "model-cas")
    for choices, names in _SPEAK_OF_A_BUCKET.items():
        if name := config.first(*names).source:
            raise InputError(
                f"no store is chosen, and {name} is set: choose one with {choices} or --store; --store {default} is "
                "the folder that is taken where no variable speaks of a bucket"
            )
    return default


def source_of_store(given: str | None = None) -> str:
    """What names the store: the call, a variable, the configuration file, or the default.

    Args:
        given: what the caller names.
    """
    if text := (given or "").strip():
        return _with_name("the call", text)
    if found := config.first("CAS_STORE", "S3_BUCKET").source:
        return _with_name(found, config.read("CAS_STORE"))
    return default_store().source or "default"


def _with_name(source: str, text: str) -> str:
    """What names the store, with the configuration file if `text` is a name there."""
    if not is_store_name(text) or (found := read_config()) is None or text not in found.stores:
        return source
    return f"{source}: {text} in {found.path}"


def _not_empty(name: str, value: str) -> str:
    if text := value.strip():
        return text
    raise InputError(
        f"{name} is set and empty, so that nothing says which store is meant: set it to one, or unset it"
        if name != "--store"
        else "--store is empty: name a store, as in --store s3://bucket/prefix, or leave it out"
    )
