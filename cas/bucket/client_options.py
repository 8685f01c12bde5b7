"""Options that all clients of obstore for servers share."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

from obstore.store import ObjectStore

from cas import config
from cas.bucket.retry import RetryPolicy
from cas.config import Setting
from cas.errors import InputError

# obstore's own retries are off: they repeat a 501, and they look like progress from outside.
NO_RETRIES: Any = {"max_retries": 0}
_NO_LIMIT = datetime.timedelta(hours=1)
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"


def client_options(url: str, policy: RetryPolicy, authority: Setting, *, reading: bool) -> Any:
    """Return the options of obstore's HTTP client.

    Args:
        url: the server's.
        policy: time limits.
        authority: the file of a private certificate authority, and what names it.
        reading: whether its requests have no body.

    Raises:
        InputError: the file cannot be read.
    """
    options: dict[str, Any] = {
        "connect_timeout": datetime.timedelta(seconds=policy.connect),
        # The deadlines of ObjectRequests bound a whole request, because they know its size.
        "timeout": _NO_LIMIT,
        "allow_http": url.startswith("http://"),
        "pool_idle_timeout": datetime.timedelta(seconds=20),
    }
    if reading:
        # obstore counts this time from the start of a request, upload included: only for requests without a body.
        options["read_timeout"] = datetime.timedelta(seconds=policy.silence)
    if authority.value and not url.startswith("http://"):
        options["root_certificate"] = _certificates(authority)
    elif not url.startswith("http://"):
        _check_system_s_authorities()
    return options


def _check_system_s_authorities() -> None:
    """Raise InputError where SSL_CERT_FILE takes the system's certificates away and names no others."""
    if (file := config.read("SSL_CERT_FILE")) and not config.read("SSL_CERT_DIR") and not Path(file).exists():
        raise InputError(f"SSL_CERT_FILE {file} does not exist: name a file of certificates (PEM), or unset it")


def _certificates(authority: Setting) -> bytes:
    """The certificates in a file, or in the files of a folder, as `requests` takes both."""
    path = Path(authority.value)
    try:
        if not path.is_dir():
            return path.read_bytes()
        contents = (file.read_bytes() for file in sorted(path.iterdir()) if file.is_file())
        return b"\n".join(content for content in contents if _CERTIFICATE in content)
    except OSError as error:
        raise InputError(f"{authority.source} {path} cannot be read: {error.strerror}") from error


def make_store(
    url: str,
    make: Callable[[], ObjectStore],
    authority: Setting,
    advice: str = "check the AWS_ variables with `cas info`",
) -> ObjectStore:
    """Return the client that `make` makes; an option that it cannot use is an InputError.

    Args:
        url: the store's, named in errors.
        make: makes the client.
        authority: the file of a private certificate authority, and what names it.
        advice: what to check where it is no certificate that cannot be used.
    """
    try:
        return make()
    except BaseException as error:
        from cas.bucket.errors.clients import is_panic

        if not isinstance(error, Exception) and not is_panic(error):
            raise
        certificate = "certificate" in str(error).lower() or "builder error" in str(error).lower()
        hint = advice
        if authority.value and certificate:
            hint = f"check that {authority.source} {authority.value} holds certificates (PEM)"
        elif certificate and (file := config.read("SSL_CERT_FILE")):
            hint = f"check that SSL_CERT_FILE {file} holds certificates (PEM)"
        raise InputError(f"store {url} cannot be opened ({str(error).splitlines()[0]}): {hint}") from error
