"""What a worker's environment variables ask for, read once."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from cas import config
from cas.config import expand_user
from cas.errors import InputError
from worker.boot.device import Asked
from worker.boot.messages import Fallback, Source

MODEL = "f5-tts"
VOCODER = "vocos"
CACHE_DIRS = "/runpod-volume/models:/tmp/models:/app/models"
RUNPOD_CACHE = Path("/runpod-volume/huggingface-cache/hub")

_ROOT = Path(__file__).resolve().parents[2]
_NAME = re.compile(r"(?:pin:[^/]+/)?(?P<model>[A-Za-z0-9][A-Za-z0-9._-]{0,95})(?:[:@].+)?")
_DEPLOYMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_URL = re.compile(r"(s3|az|gs|https?|file)://[^/\s]*\S*|file:/\S*|/\S*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment asks of a worker.

    Attributes:
        enabled: whether stores and mirrors may be used at all.
        store: URL of the store; None when none is named, or when stores may not be used.
        no_store: why `store` is None, in words; else empty.
        mirrors: URLs of the stores to try after it.
        directories: cache directories that the model may be in, in the order in which to try them.
        seeds: existing folders that may hold some of the model's bytes.
        model: name of the model.
        deployment: the deployment whose pin is taken; None when none is named.
        local: whether the version is known without reading a pin from a store.
        lock: path of the image's own lock file, which need not exist.
        source: file that says what to take from Hugging Face.
        fallback: what may stand in for a store that does not give the version; None where CAS_FALLBACK does not say.
        publish: whether the worker publishes what it downloaded.
        receipt: whether the worker writes a receipt into the store.
        receipt_named: whether the environment asks for the receipt explicitly.
        stream: whether jobs may ask for their audio in parts.
        device: what the model must run on; empty when the environment does not say.
        weights: which of several files of weights to load: a glob pattern; empty when the environment does not say.
        vocoder: reference of the version whose vocoder is loaded; empty when the environment does not say.
        prometheus: text file to write for a node exporter, if any.
    """

    enabled: bool
    store: str | None
    no_store: str
    mirrors: tuple[str, ...]
    directories: tuple[Path, ...]
    seeds: tuple[Path, ...]
    model: str
    deployment: str | None
    local: bool
    lock: Path
    source: Path
    fallback: Fallback | None
    publish: bool
    receipt: bool
    receipt_named: bool
    stream: bool
    device: Asked
    weights: str
    vocoder: str
    prometheus: Path | None

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Return the settings in an environment.

        Args:
            environ: the variables.

        Raises:
            InputError: a variable has a bad value; the message names it.
        """
        enabled = _switch(environ, "ENABLE_S3_MODEL_CACHE")
        bucket = config.bucket_name(environ)
        url = config.read("CAS_STORE", environ) or (f"s3://{bucket}/cas" if bucket else None)
        store = url if enabled else None
        model = _model("CAS_MODEL", environ) or MODEL
        lock = _ROOT / f"manifests/locks/{model}.json"
        deployment = _deployment(environ)
        named = config.first("CAS_MODEL", "CAS_LOCK", environ=environ)
        _check_hub(environ)
        prometheus = config.read("CAS_PROMETHEUS_FILE", environ)
        return cls(
            enabled=enabled,
            store=store,
            no_store="" if store else "no store is named: set S3_BUCKET" if enabled else "ENABLE_S3_MODEL_CACHE is off",
            mirrors=_mirrors(environ),
            directories=_directories(environ),
            seeds=tuple(path for path in (RUNPOD_CACHE,) if path.is_dir()),
            model=model,
            deployment=deployment,
            local=not deployment or bool(named.value) or os.path.lexists(lock),
            lock=lock,
            source=_source(model),
            fallback=_fallback(environ),
            publish=enabled and bool(url) and _switch(environ, "CAS_PUBLISH"),
            receipt=enabled and _switch(environ, "CAS_RECEIPT"),
            receipt_named=bool(config.read("CAS_RECEIPT", environ)),
            stream=_switch(environ, "CAS_STREAM", on=False),
            device=_device(environ),
            weights=config.read("CAS_WEIGHTS", environ),
            vocoder=_vocoder(environ),
            prometheus=_absolute("CAS_PROMETHEUS_FILE", prometheus) if prometheus else None,
        )

    def stores(self) -> list[tuple[Source, str]]:
        """Return kind and URL of the store and of each mirror, in the order of trying; none when switched off."""
        if not self.enabled:
            return []
        own: list[tuple[Source, str]] = [("store", self.store)] if self.store else []
        return [*own, *(("mirror", url) for url in self.mirrors)]

    def of_vocoder(self) -> Settings:
        """Return the settings for the version whose vocoder is loaded, which is known without a pin."""
        model = _model("CAS_VOCODER", {"CAS_VOCODER": self.vocoder}) or VOCODER
        return replace(self, model=model, deployment=None, local=True, source=_source(model), publish=False)


def _switch(environ: Mapping[str, str], name: str, *, on: bool = True) -> bool:
    """Whether a variable switches something on; `on` is the answer when it is unset."""
    given = config.switch(name, environ)
    return on if given is None else given


def _model(variable: str, environ: Mapping[str, str]) -> str:
    """Return the model that the reference in a variable names; empty when the variable is not set."""
    given = config.read(variable, environ)
    match = _NAME.fullmatch(given)
    if given and match is None:
        raise InputError(
            f"{variable} is {given!a}: write model, model:tag, model@blake3:<64 hex> or pin:deployment/model"
        )
    return match["model"] if match else ""


def _vocoder(environ: Mapping[str, str]) -> str:
    return config.read("CAS_VOCODER", environ) if _model("CAS_VOCODER", environ) else ""


def _source(model: str) -> Path:
    return _ROOT / f"manifests/sources/{model}.toml"


def _deployment(environ: Mapping[str, str]) -> str | None:
    for name in ("CAS_DEPLOYMENT", "RUNPOD_ENDPOINT_ID"):
        if given := config.read(name, environ):
            if not _DEPLOYMENT.fullmatch(given):
                raise InputError(f"{name} is {given!a}: write letters, digits, '.', '_' and '-', 96 at most")
            return given
    return None


def _fallback(environ: Mapping[str, str]) -> Fallback | None:
    match given := config.read("CAS_FALLBACK", environ).lower():
        case "":
            return None
        case "bytes" | "hub" | "none":
            return given
    raise InputError(f"CAS_FALLBACK is {given!a}: write bytes, hub or none, or leave it unset")


def _device(environ: Mapping[str, str]) -> Asked:
    match given := config.read("CAS_DEVICE", environ).lower():
        case "" | "cpu" | "cuda":
            return given
    raise InputError(f"CAS_DEVICE is {given!a}: write cpu or cuda, or leave it unset")


def _check_hub(environ: Mapping[str, str]) -> None:
    """Refuse an HF_ENDPOINT that is no URL: the hub's client shows pieces of it, and one may be a password."""
    with contextlib.suppress(ValueError):
        address = urlsplit(config.read("HF_ENDPOINT", environ) or "https://huggingface.co")
        if address.scheme in ("http", "https") and address.hostname and address.port != 0:  # reading .port checks it
            return
    raise InputError("HF_ENDPOINT is no URL: write https://host, with special characters of a password as %xx")


def _mirrors(environ: Mapping[str, str]) -> tuple[str, ...]:
    found = tuple(re.split(r"[\s,]+", config.read("CAS_MIRRORS", environ).strip(", \t\n")))
    for number, url in enumerate(filter(None, found), 1):
        if not _URL.fullmatch(url) or "@" in url or "?" in url:
            # The entry is not shown: what it holds besides an address could be a secret.
            raise InputError(
                f"CAS_MIRRORS: entry {number} is no store: write s3://bucket/prefix (az:// and gs:// as well), "
                "https://host/path or /path, separated by spaces, without user, password or query"
            )
    return tuple(dict.fromkeys(filter(None, found)))


def _directories(environ: Mapping[str, str]) -> tuple[Path, ...]:
    given = config.read("CAS_CACHE_DIRS", environ) or CACHE_DIRS
    found = tuple(dict.fromkeys(_absolute("CAS_CACHE_DIRS", name) for name in given.split(":") if name))
    if not found:
        raise InputError(f"CAS_CACHE_DIRS is {given!a}: name a directory, or leave it unset")
    return found


def _absolute(variable: str, name: str) -> Path:
    try:
        path = expand_user(os.path.expandvars(name))
    except InputError as error:
        raise InputError(f"{variable}: {error}") from None
    if not path.is_absolute() or "\0" in name:
        raise InputError(f"{variable}: {name!a} is not an absolute path")
    return path
