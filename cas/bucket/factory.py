"""From a store URL and the user's standard variables to a bucket."""

from __future__ import annotations

import stat
from pathlib import Path

from obstore.store import HTTPStore, LocalStore, MemoryStore, ObjectStore

from cas import config
from cas.bucket.base import Bucket
from cas.bucket.client_options import NO_RETRIES, client_options, make_store
from cas.bucket.object_requests import ObjectRequests
from cas.bucket.object_store import ObjectBucket
from cas.bucket.redirects import only_to_host_of
from cas.bucket.retry import RetryPolicy
from cas.bucket.urls import parse
from cas.errors import CacheError


def open_bucket(url: str, policy: RetryPolicy | None = None) -> Bucket:
    """Return the bucket at `url`; makes no request.

    Args:
        url: `s3://bucket/prefix`, `az://container/prefix`, `gs://bucket/prefix`, `https://host/path` (read only; plain
            http for a local server), a `file:` URL, a path (of a directory, or of an archive, which is read only), or
            `memory:` for tests.
        policy: time limits and retries; the default ones when None.

    Raises:
        InputError: the URL has another scheme, or an address carries more than an address.
        AccessDenied: no credentials can be found.
        CacheError: the directory cannot be used, or the file is no archive.
    """
    policy = policy or RetryPolicy()
    where = parse(url)
    if where.scheme == "memory":
        store = MemoryStore()
        return ObjectBucket(url, ObjectRequests(lambda reading: store, policy, url, stores_headers=False), remote=False)
    if where.scheme == "s3":
        from cas.bucket.s3.bucket import open_s3

        return open_s3(where, policy)
    if where.scheme == "az":
        from cas.bucket.clouds.azure import open_azure

        return open_azure(where, policy)
    if where.scheme == "gs":
        from cas.bucket.clouds.google import open_google

        return open_google(where, policy)
    if where.scheme == "file":
        return _directory(Path(where.url), policy)
    return _http(where.url, policy)


def _directory(path: Path, policy: RetryPolicy) -> Bucket:
    try:
        if not stat.S_ISDIR(mode := path.stat().st_mode):
            if stat.S_ISREG(mode):
                from cas.bucket.archive import open_archive

                return open_archive(path)
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

    from cas.bucket.directory.bucket import DirectoryBucket, DirectoryRequests

    return DirectoryBucket(str(path), DirectoryRequests(connect, policy, path))


def _http(url: str, policy: RetryPolicy) -> Bucket:
    from cas.bucket.http.bucket import WebBucket, read_login

    login = read_login(url)

    def connect(reading: bool) -> ObjectStore:
        authority = config.ca_bundle()
        options = client_options(url, policy, authority, reading=reading)
        if login.headers:
            options["default_headers"] = login.headers
        # Without allow_http, https may redirect to https alone: a hub does so to its storage.
        if options["allow_http"] or login.headers:
            options |= only_to_host_of(url)
        make = lambda: HTTPStore.from_url(url, client_options=options, retry_config=NO_RETRIES)  # noqa: E731
        return make_store(url, make, authority)

    return WebBucket(
        url,
        ObjectRequests(connect, policy, url, stores_headers=True),
        login=login,
        read_url=lambda client, key, seconds: f"{url}/{key}",
        ca_bundle=lambda: config.ca_bundle().value,
    )
