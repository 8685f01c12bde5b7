"""Every setting that counts, where it comes from and what it decides; and every variable that is set.

Order of steps: the store first, because its kind says which settings follow; then the settings of its server, of the
cache and of this machine; then the variables, with their values as they were read. A setting that cannot be used is
shown with its error, and the others are shown all the same. No request is made.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from cas import config, host
from cas.bucket.s3.settings import read_settings
from cas.bucket.urls import StoreUrl, parse
from cas.config import Setting
from cas.errors import CasError
from cas.local import config_file
from cas.local.variables import VARIABLES
from cas.store import cdn, signing
from cas.store.choice import source_of_store, store_url

HIDDEN = "(hidden)"
"""What is shown in place of a secret."""


class Shown(NamedTuple):
    """A setting as it is shown.

    Attributes:
        name: its name.
        value: what counts, without secrets; empty for none.
        source: the variable, the file or the default that gave it.
        decides: what it decides.
        error: why it cannot be used; empty for a sound one.
    """

    name: str
    value: str
    source: str
    decides: str
    error: str = ""


def settings(store: str | None) -> list[Shown]:
    """Return every setting that counts.

    Args:
        store: URL of the store; None for the one that the variables name.
    """
    rows = [*_attempt("config file", _OF_FILE, lambda: [_config_file()])]
    rows += [*_attempt("store", "where versions are", lambda: [_store(store)])]
    if rows[-1].value and not rows[-1].error:
        url = store_url(store)
        name = "S3" if url.lower().startswith("s3:") else "server"
        rows += _attempt(name, "how the store's server is asked", lambda: _of_the_server(url))
        rows += _attempt("cdn", _OF_CDN, lambda: _cdn(url))
        rows += _attempt("store name", _OF_NAME, lambda: [_name(url)])
    rows += _attempt("cache", "where models are restored to", _of_the_cache)
    rows += _attempt("lease", "how long others wait for somebody who stopped", lambda: [_lease()])
    rows += _attempt("trusted", _OF_TRUST, lambda: [_trust()])
    rows += _of_the_user()
    return rows + _of_the_machine()


def variables() -> list[Shown]:
    """Return every variable that is set, of those that this program or a library of its own reads."""
    rows = []
    for name, decides, is_secret in VARIABLES:
        for spelling in (name, name.lower()) if name.endswith("_PROXY") else (name,):
            if spelling in os.environ:
                value = config.read(spelling)
                rows.append(Shown(spelling, HIDDEN if is_secret and value else _harmless(value), "", decides))
    return rows


def _attempt(name: str, decides: str, rows: Callable[[], list[Shown]]) -> Iterator[Shown]:
    """The rows, or one row with the error that says why there are none."""
    try:
        yield from rows()
    except CasError as error:
        yield Shown(name, "", "", decides, str(error))


def _config_file() -> Shown:
    path, found = config_file.config_path(), config_file.read_config()
    if found is None:
        return Shown("config file", "", f"{path.source}: {path.value} does not exist" if path.value else "", _OF_FILE)
    stores = f"; its stores are {', '.join(sorted(found.stores))}" if found.stores else ""
    return Shown("config file", str(found.path), path.source, _OF_FILE + stores)


def _store(given: str | None) -> Shown:
    return Shown("store", _harmless(store_url(given)), source_of_store(given), "where versions are")


def _of_the_server(url: str) -> list[Shown]:
    where = parse(url)
    return _SERVERS[where.scheme](where) if where.scheme in _SERVERS else []


def _of_s3(where: StoreUrl) -> list[Shown]:
    found = read_settings(where.bucket, where.profile)
    of_chain = Setting("", "boto3's chain: a profile, SSO, a role")
    rows = {
        "endpoint": (found.endpoint, "the server of anything but AWS"),
        "server": (Setting(found.server, found.endpoint.source), "the server that is asked"),
        "region": (found.region, "the region to sign for"),
        "addressing": (found.addressing, "where requests name the bucket: path, or virtual (in the host)"),
        "signed": (found.signed, "whether requests are signed"),
        "key": (_secret(found.key) if found.key.value or not found.is_signed else of_chain, "who asks"),
        "secret": (_secret(found.secret), "what signs"),
        "token": (_secret(found.token), "the token of a key that expires"),
        "checksum": (found.checksum, "whether every write carries a checksum; without it, where the bucket wants one"),
        "encryption": (found.encryption, "how the server encrypts what is written"),
        "kms key": (found.kms_key, "the key of KMS that it encrypts with"),
        "bucket key": (found.bucket_key, "whether it asks KMS once for many objects"),
        "payer": (found.payer, "who pays for requests: requester, or the bucket's owner"),
        "authority": (found.ca_bundle, _AUTHORITY),
    }
    return [Shown(name, setting.value, setting.source, decides) for name, (setting, decides) in rows.items()]


def _of_azure(where: StoreUrl) -> list[Shown]:
    from cas.bucket.clouds import azure

    found = azure.read_settings()
    return [
        Shown("account", *found.account, "the storage account"),
        Shown("endpoint", *found.endpoint, "the URL of its blobs"),
        Shown("key", *_secret(found.key), "the account's key: who asks, and what signs"),
        Shown("token", *_secret(found.token), "a shared access signature (SAS) in the key's place"),
        _anonymous(found.anonymous),
        Shown("authority", *config.ca_bundle(), _AUTHORITY),
    ]


def _of_google(where: StoreUrl) -> list[Shown]:
    from cas.bucket.clouds import google

    found = google.read_settings()
    return [
        Shown("endpoint", *found.endpoint, "the server that is asked"),
        Shown("key", *found.key, "who asks"),
        _anonymous(found.anonymous),
        Shown("authority", *config.ca_bundle(), _AUTHORITY),
    ]


def _of_the_web(where: StoreUrl) -> list[Shown]:
    from cas.bucket.http.bucket import read_login

    login = read_login(where.url)
    return [
        Shown("login", HIDDEN if login.headers else "", login.source, "what a private store is shown"),
        Shown("authority", *config.ca_bundle(), _AUTHORITY),
    ]


_AUTHORITY = "a private certificate authority"
_SERVERS = {"s3": _of_s3, "az": _of_azure, "gs": _of_google, "https": _of_the_web, "http": _of_the_web}
_OF_FILE = "stores by name, and defaults"
_OF_CDN = "the cache through which restores read chunks and manifests"
_OF_NAME = "what signatures call the store"
_OF_TRUST = "the keys whose signatures count; none: nothing is asked to be signed"


def _anonymous(switch: Setting) -> Shown:
    return Shown("anonymous", *switch, "true: requests carry no credential")


def _cdn(url: str) -> list[Shown]:
    given = config.first(cdn.VARIABLE)
    if not cdn.is_read_through(url):
        decides = "nothing: a store of this kind is read itself"
        return [Shown("cdn", "", given.source, decides)] if given.value else []
    address = cdn.address_of(given.value) if given.value else ""
    return [Shown("cdn", address, given.source, _OF_CDN)]


def _name(url: str) -> Shown:
    name = signing.store_name(url)
    is_own = name == signing.canonical_name(url)
    return Shown("store name", name, "the store's URL" if is_own else signing.NAME, _OF_NAME)


def _trust() -> Shown:
    from cas.local.trusted_keys import configured_trust

    trust = configured_trust()
    if trust is None:
        return Shown("trusted", "", "default", _OF_TRUST)
    keys, sources = sorted(trust.keys), dict.fromkeys(trust.where[key_id] for key_id in sorted(trust.keys))
    return Shown("trusted", ", ".join(map(trust.called, keys)), ", ".join(sources), _OF_TRUST)


def _of_the_cache() -> list[Shown]:
    of_file = config_file.default_cache_dir()
    dirs = config.cache_dirs(of_file.value or None)
    hub = config.first("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME").source or of_file.source
    hub = hub or config.first("XDG_CACHE_HOME").source or "default"
    home = config.first("HF_HOME", "XDG_CACHE_HOME").source or "default"
    seeds = os.pathsep.join(map(str, config.seed_dirs(config_file.default_seeds())))
    of_seeds = config.first("CAS_SEEDS").source or config_file.config_path().value
    return [
        Shown("hub cache", str(dirs.hub), hub, "where models are restored to"),
        Shown("HF_HOME", str(dirs.home), home, "where Hugging Face's clients keep what they have"),
        Shown("seeds", seeds, of_seeds if seeds else "", "folders to take bytes from instead of fetching them"),
    ]


def _lease() -> Shown:
    source = config.first("CAS_LEASE_SECONDS").source or "default"
    return Shown("lease", f"{config.lease_seconds()} s", source, "how long others wait for somebody who stopped")


def _of_the_user() -> list[Shown]:
    version = config.first("CAS_MODEL", "CAS_LOCK")
    deployment = config.first("CAS_DEPLOYMENT", "RUNPOD_ENDPOINT_ID")
    receipt = Setting("true" if config.receipt_wanted() else "false", config.first("CAS_RECEIPT").source or "default")
    hub = Setting(config.hub_endpoint(), config.first("HF_ENDPOINT").source or "default")
    return [
        Shown("signer", *_secret(config.first("CAS_SIGNING_KEY")), "the key that signs what moves a ref"),
        Shown("version", *version, "which version a command without REF takes"),
        Shown("deployment", host.deployment(), deployment.source or "the host's name", "whose receipts these are"),
        Shown("receipts", *receipt, "whether every restore keeps a receipt in the store"),
        Shown("hub", *hub, "the hub that `cas publish` downloads from"),
        Shown("hub token", *_secret(config.first("HF_TOKEN")), "the key to the hub"),
    ]


def _of_the_machine() -> list[Shown]:
    limits = host.Limits()
    memory = host.memory_limit()
    source = "default" if memory is None else "the container's memory"
    cores = f"{host.usable_cores()} cores"
    return [
        Shown("budget", f"{limits.budget // host.MIB} MiB", source, "bytes of chunks in flight"),
        Shown("workers", str(limits.workers), cores, "chunks that are encoded or decoded at once"),
        Shown("requests", str(limits.requests), "default", "requests in flight"),
    ]


def _secret(setting: Setting) -> Setting:
    return setting._replace(value=HIDDEN) if setting.value else setting


def _harmless(text: str) -> str:
    """A value without the user, the password and the query of a URL in it."""
    return re.sub(r"\?\S*", "?…", config.without_secrets(text)) if "://" in text else text
