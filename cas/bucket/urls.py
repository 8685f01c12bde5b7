"""What a store's URL means: a directory, S3-compatible storage, a web server, or a mistake whose meaning is likely.

Sources: RFC 3986 (a scheme's case does not matter), RFC 8089 (`file:` URLs).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from cas.config import expand_user
from cas.errors import InputError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_WEB = ("https", "http")
# A known scheme without one of its three characters, before something that cannot be the rest of a usual path.
_MISSPELT = re.compile(r"(s3|az|gs|https?):/*(?P<a>.*)|(s3|az|gs|https?|file)//+(?P<b>.*)", re.IGNORECASE | re.DOTALL)
_BUCKETS = {"s3": "s3://bucket/prefix", "az": "az://container/prefix", "gs": "gs://bucket/prefix"}
_OTHER_NAMES = {
    "S3-compatible storage is s3://bucket/prefix": ("s3a", "s3n", "s3c", "r2", "b2", "minio"),
    "Azure Blob Storage is az://container/prefix": ("azure", "abfs", "abfss", "adl", "wasb", "wasbs"),
    "Google Cloud Storage is gs://bucket/prefix": ("gcs", "google"),
}
_ENDPOINTS = {"s3": "AWS_ENDPOINT_URL", "az": "AZURE_STORAGE_ENDPOINT", "gs": "GOOGLE_BASE_URL"}
_PROFILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_BAD_BUCKET = re.compile(r"[\s\\\x00-\x1f\x7f]|:[0-9]+$")
_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})|%2[Ff]|%00")


class StoreUrl(NamedTuple):
    """The parts of a store's URL.

    Attributes:
        scheme: `file`, `s3`, `az`, `gs`, `https`, `http` or `memory`.
        url: the URL as errors name it, without a slash at its end; for `file`, the absolute path.
        bucket: name of the bucket, or of Azure's container; else empty.
        prefix: what keys begin with in the bucket, without slashes at its ends; else empty.
    """

    scheme: str
    url: str
    bucket: str = ""
    prefix: str = ""

    @property
    def profile(self) -> str:
        """The AWS profile that an `s3` URL names before an @; else empty."""
        return self.url.removeprefix("s3://").partition("/")[0].rpartition("@")[0] if self.scheme == "s3" else ""


def parse(text: str) -> StoreUrl:
    """Return what a store's URL or path means; looks at the file system only for a relative path.

    Args:
        text: `s3://bucket/prefix` (or `s3://profile@bucket/prefix`), `az://container/prefix`, `gs://bucket/prefix`,
            `https://host/path` (or http), a `file:` URL, a path, or `memory:` for tests. Blanks and line ends around it
            do not count.

    Raises:
        InputError: it is empty, of another scheme, or not well-formed; the message says what was likely meant.
    """
    text = text.strip()
    if not text:
        raise InputError("the store's URL is empty: write s3://bucket/prefix, a path, or https://host/path")
    if text == "memory:":
        return StoreUrl("memory", text)
    if text[:5].lower() == "file:":
        return StoreUrl("file", _path_of_file_url(text[5:]))
    if (match := _SCHEME.match(text)) is None:
        return StoreUrl("file", _path(text))
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"store {_shown(text)}: its bytes are not UTF-8, and so no URL: only a path may be so"
        ) from None
    scheme, rest = match[1].lower(), text[match.end() :]
    if scheme in _BUCKETS:
        return _bucket(scheme, rest)
    if scheme in _WEB:
        return StoreUrl(scheme, plain_address("store", f"{scheme}://{rest}"))
    for known, names in _OTHER_NAMES.items():
        if scheme in names:
            raise InputError(f"store {scheme}://…: this scheme is unknown: {known}")
    raise InputError(
        f"store {scheme}://…: this scheme is unknown: use s3://, https://, file:// or a path, az:// or gs://"
    )


def is_url(text: str) -> bool:
    """Return whether a text that may also be a path is meant as a URL, even as a misspelt one: `parse` tells which."""
    text = text.strip()
    return bool(
        _SCHEME.match(text) or text[:5].lower() == "file:" or (_MISSPELT.fullmatch(text) and not _exists(Path(text)))
    )


def plain_address(name: str, url: str) -> str:
    """Return a URL that is no more than an address. Anything else in it could be secret, and errors show the URL.

    Args:
        name: where the URL stands, named in errors.
        url: what stands there.

    Raises:
        InputError: it is no http or https URL with a host, or has a user, a password, a query or a fragment, or a port
            that cannot be.
    """
    advice = f"{name}: write https:// and the host, as in https://s3.example.com"
    parts = _split(url, advice)
    if parts.scheme not in _WEB or not parts.hostname:
        raise InputError(advice)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(f"{name} {parts.scheme}://{parts.hostname}…: write no user, password or query into it")
    try:
        usable = parts.port != 0 and not re.search(r"[\x00-\x1f\x7f]", url) and not re.search(r"\s", parts.netloc)
    except ValueError:  # from .port
        usable = False
    if not usable:
        raise InputError(f"{name} {url!a}: the host has a blank in it, or a port that is none from 1 to 65535")
    return url.rstrip("/")


def _split(url: str, advice: str) -> SplitResult:
    """The components of a URL; raises InputError with this advice for one that has none, such as `https://[`."""
    try:
        return urlsplit(url)
    except ValueError:
        raise InputError(advice) from None


def _bucket(scheme: str, rest: str) -> StoreUrl:
    """The bucket and prefix of a URL. rest: what follows the scheme's two slashes."""
    form = _BUCKETS[scheme]
    parts = _split(f"{scheme}://{rest}", f"store {scheme}://…: write {form} and nothing else")
    before, at, bucket = parts.netloc.rpartition("@")
    is_profile = scheme == "s3" and _PROFILE.fullmatch(before)
    if not bucket or parts.query or parts.fragment or (at and not is_profile):
        raise InputError(f"store {scheme}://{parts.hostname or ''}…: write {form} and nothing else")
    prefix = parts.path.strip("/")
    if match := _BAD_BUCKET.search(bucket):
        if match[0].startswith(":"):
            raise InputError(
                f"store {scheme}://{bucket}: this names a host and a port: write {form}, and the host into "
                f"{_ENDPOINTS[scheme]}=https://{bucket}"
            )
        raise InputError(f"store {scheme}://{bucket}: no bucket's name contains {match[0]!a}: write {form}")
    if dots := {".", ".."}.intersection(prefix.split("/")):
        raise InputError(
            f"store {scheme}://{bucket}/{prefix}: a prefix cannot contain /{min(dots)}/: write the prefix itself"
        )
    return StoreUrl(scheme, f"{scheme}://{rest}".rstrip("/"), bucket, prefix)


def _path_of_file_url(rest: str) -> str:
    """The absolute path of a `file:` URL.

    Args:
        rest: what follows `file:`; RFC 8089 knows `/path`, `///path` and `//localhost/path`.
    """
    if rest.startswith("//"):
        host, slash, below = rest[2:].partition("/")
        if host.lower() not in ("", "localhost"):
            raise InputError(
                f"store file:{_shown(rest)}: what stands before the path is the name of a host: write file:///path for "
                f"an absolute path, or {_shown(f'{host}{slash}{below}')} without file:// for a relative one"
            )
        rest = f"/{below}"
    if not rest.startswith("/"):
        raise InputError(f"store file:{rest}: the path of a URL is absolute: write file:///path, or the path alone")
    if match := re.search(r"[?#]", rest):
        code = f"%{ord(match[0]):02X}"
        raise InputError(
            f"store file:{_shown(rest)}: write {match[0]} in a path as {code}, or give the path without file://"
        )
    encoded = os.fsencode(rest)
    if bad := _BAD_PERCENT.search(encoded):
        advice = "write a percent sign as %25" if len(bad[0]) == 1 else "no file has a name with that character"
        raise InputError(f"store file:{rest}: {bad[0].decode()} cannot be decoded: {advice}")
    return str(Path(os.fsdecode(unquote_to_bytes(encoded))).absolute())


def _path(text: str) -> str:
    """The absolute path that a text without a scheme names; refuses what is rather a bucket or a misspelt URL."""
    path = expand_user(text)
    if not path.is_absolute() and not text.startswith("~") and not _exists(path):
        if match := _MISSPELT.fullmatch(text):
            scheme, rest = text[: match.end(1) if match[1] else match.end(3)].lower(), match["a"] or match["b"] or ""
            slashes = ":///" if scheme == "file" else "://"
            raise InputError(f"store {_shown(text)} is no URL: write {scheme}{slashes}{_shown(rest.lstrip('/'))}")
        first, slash, _ = text.partition("/")
        if slash and first not in (".", "..") and not _exists(Path(first)):
            shown = _shown(text)
            server = f", https://{shown} for a web server" if "." in first else ""
            raise InputError(
                f"store {shown} is neither a folder here nor a URL: write s3://{shown} for a bucket{server}, or "
                f"./{shown} for a new folder"
            )
    return str(path.absolute())


def _shown(text: str) -> str:
    """A text that was given as a URL, as errors may show it: with an @ or a ? it may hold a password."""
    return "…" if re.search(r"[@?]", text) else text


def _exists(path: Path) -> bool:
    # ValueError: the path contains a NUL; whoever opens it reports that.
    try:
        return os.path.lexists(path)
    except ValueError:
        return False
