"""Keeps the requests of a store at its own host, where a redirect would lead elsewhere.

A redirect makes this machine send a request to an address that the server chose, such as one inside a private network,
with the headers of the first request (without its signature, but with a session's token). obstore follows redirects,
and has no switch for that. So its client is given a proxy that cannot exist, for every host but the store's.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from urllib.parse import urlsplit

from cas import config

NOWHERE = "127.0.0.1:0"
"""The address of that proxy, where nothing can listen; obstore's error shows it."""

REDIRECTED = "the store redirects elsewhere: check AWS_ENDPOINT_URL and AWS_REGION"
"""The end of the error about a redirect that is not followed."""


def only_to_host_of(url: str) -> dict[str, str]:
    """Return the options of an obstore client that connects to the host of `url` alone.

    Each port of the host, and each name below its name, can still be reached. Behind a proxy of the user's, that proxy
    decides what can be reached.
    """
    if sys.platform != "linux" or config.proxy_variables():
        from cas.bucket.http.reader import is_proxied

        if is_proxied(urlsplit(url)):
            return {}
    host = urlsplit(url).hostname or ""
    if not host.isascii() or host.endswith("."):  # obstore may know it by another spelling
        return {}
    with contextlib.suppress(OSError):
        host = socket.inet_ntoa(socket.inet_aton(host))  # obstore, too, writes 127.1 in full
    return {"proxy_url": f"http://{NOWHERE}", "proxy_excludes": host}
