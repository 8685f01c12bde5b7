"""The environment as input: each line is NAME=value. It names the version, the store, the directories, the limits."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from unittest import mock

from cas import config, events
from cas.bucket import open_bucket
from cas.local.environment import client_variables
from cas.local.trusted_keys import configured_trust
from cas.local.variables import VARIABLES
from cas.ops.inspect import settings
from cas.refs import selection
from cas.refs.reference import parse_reference
from cas.store.cdn import through_cdn
from cas.store.choice import store_url
from cas.store.signing import store_name
from cas.store.store import Store
from tools.fuzz import refusals
from tools.fuzz.bucket import OneDocument
from worker.boot.settings import Settings

_OF_THE_WORKER = (
    "CAS_MIRRORS", "CAS_CACHE_DIRS", "CAS_FALLBACK", "CAS_DEVICE", "CAS_PUBLISH", "CAS_STREAM", "CAS_PROMETHEUS_FILE",
    "ENABLE_S3_MODEL_CACHE",
)  # fmt: skip
_VARIABLES = (*(variable.name for variable in VARIABLES), *_OF_THE_WORKER, "HOME")
_KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}


class _Remote(OneDocument):
    url = "s3://bucket/cas"


def read(data: bytes) -> None:
    """Read an environment as the command line and the worker do, without a request to a store.

    Raises:
        CasError: something in it is refused.
    """
    pairs = (line.partition("=") for line in data.replace(b"\0", b"").decode(errors="surrogateescape").split("\n"))
    given = {name: value for name, _, value in pairs if name in _VARIABLES}
    without_pins = {
        name: value for name, value in given.items() if name not in ("CAS_DEPLOYMENT", "RUNPOD_ENDPOINT_ID")
    }
    no_pins = Store(OneDocument(b""))
    readers: tuple[Callable[[], object], ...] = (
        lambda: Settings.read(given).stores(),
        lambda: selection.choose(without_pins, model="m").caution,
        lambda: selection.choose(without_pins).version(),
        lambda: selection.choose(given, model="m", store=no_pins),
        config.lease_seconds,
        config.receipt_wanted,
        config.seed_dirs,
        lambda: client_variables(config.cache_dirs()),
        lambda: client_variables(config.cache_dirs(given.get("HF_HUB_CACHE"))),
        config.hub_endpoint,
        lambda: config.without_secrets(given.get("CAS_STORE", "")),
        lambda: open_bucket(store_url()),
        lambda: through_cdn(Store(_Remote(b"")), given.get("CAS_READ_URL", ""), events.ignore),
        configured_trust,
        lambda: store_name("s3://bucket/cas"),
        settings.variables,
        lambda: settings.settings(None),
        lambda: parse_reference(given.get("CAS_MODEL", "")),
    )
    with mock.patch.dict(os.environ, _KEYS | given, clear=True):
        refusals.read_all(readers)


_SETTINGS = (
    "", "/", "//", "~", "~/a", "~nobody-of-this-name/a", "$HOME/a", "${X}", "a", "a/b", "/a:/b", "/a,/b /c", "memory:",
    "s3://", "s3://b", "s3://b/p", "s3://[", "s3://u:p@b/p", "s3://b:9/p?q#f", "http://[::1", "https://h:x/p", "https://",
    "https://u:p@h/p", "https://h/p?q", "file://", "file:///a/b", "ftp://h", "://", "https://\u2028/", "https://a\u2100b/",
    "/" + "a" * 300, "/a" * 3000, "m", "m:latest", "m@01234567", "m@blake3:" + "a" * 64, "pin:d/m", "pin:/", "m@", "m:",
    "1", "0", "true", "off", "maybe", "600", "86401", "99999999", "\u0666", "cpu", "cuda", "bytes", "hub", "none",
    "\udcff", "\x1b[2J", "\r", "\u202e", "a" * 97, "az://", "az://container/p", "gs://bucket/p",
    "Authorization: Bearer x", "name:", "AccountName=a;AccountKey=", "{}", '{"type": "service_account"}',
    "UseDevelopmentStorage=true", "AccountName=abc;AccountKey=aGV4;EndpointSuffix=h",
)  # fmt: skip


def mutate(data: bytes, rng: random.Random) -> bytes | None:
    """Change one to three lines of the form NAME=value: their values, or whole lines."""
    lines = data.decode(errors="surrogateescape").split("\n")
    names = [line.partition("=")[0] for line in lines]
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(lines))
        value = rng.choice(_SETTINGS)
        match rng.randrange(4):
            case 0:
                lines.insert(at, f"{rng.choice(_VARIABLES)}={value}")
            case 1:
                lines[at] += value
            case _:
                lines[at] = f"{rng.choice(names)}={value}"
    return "\n".join(lines).encode(errors="surrogateescape")
