"""Failures of a request before a whole answer of the server: no connection, no trust, no byte, a body cut short.

Both clients show the cause only deep in their exceptions' texts: obstore's is the debug form of reqwest, hyper and
rustls, boto3's that of urllib3 and OpenSSL. Tests with real sockets pin the words that are looked for.
"""

from __future__ import annotations

import re
import urllib.request
from urllib.parse import urlsplit

from cas.bucket.errors.texts import first_group, without_query
from cas.bucket.http.reader import is_proxied
from cas.bucket.redirects import NOWHERE, REDIRECTED
from cas.errors import AnswerUnusable, CasError, Redirected, Stalled, StoreError, Transient, Unreachable

# What object_store misses in an answer, which no other try brings.
_UNUSABLE_ANSWER = (
    r"(?i)(Content-Length Header|Invalid content length|(Missing|Invalid) (last modified|etag))[^\n]{0,99}"
)
_BAD_CERTIFICATE = (
    r"InvalidCertificate\(\s*((?:Other\(\s*OtherError\(\s*)?\w+)|certificate verify failed: ([^(\n]{1,80})"
)
_NO_TLS = r"InvalidContentType|WRONG_VERSION_NUMBER"
_TLS_WANTED = r"(?i)HTTP request (was sent )?to (an )?HTTPS (port|server)"  # nginx; Go's net/http
_TLS_FAILED = r"(AlertReceived\(\s*\w+|PeerIncompatible\(\s*\w+|\[SSL: \w+\])"
_URL = r"(https?://[^/\s?\"',]+)"

# Why there is no connection: a pattern, and words in which `{who}` is the server or the proxy.
_NO_CONNECTION = (
    (r"kind: ConnectionRefused|Connection refused", "{who} refuses connections"),
    (r"TunnelUnsuccessful|Tunnel connection failed", "{who} does not lead to {host}"),
    (r"ProxyAuthRequired|407 Proxy", "{who} wants a user and a password"),
    (r"Temporary failure in name resolution", "the name of {who} cannot be looked up now"),
    (r"dns error|NameResolutionError", "the name of {who} is unknown"),
    (r"NetworkUnreachable|HostUnreachable|Errno 101|Errno 113", "no way leads to {who} from here"),
    (r"\"tcp connect error\".{0,200}TimedOut|ConnectTimeout", "{who} does not answer (a firewall may drop it)"),
)


def failure_without_answer(what: str, text: str) -> CasError:
    """The error for an exception of obstore that carries no answer of the server.

    Args:
        what: the operation, the key and the store.
        text: of the exception.
    """
    if missing := re.search(_UNUSABLE_ANSWER, text):
        return AnswerUnusable(
            f"{what}: the answer cannot be used ({missing[0]}): check the endpoint, or the proxy before it"
        )
    if "redirect" in text or NOWHERE in text:
        return Redirected(f"{what}: {REDIRECTED}")
    return no_connection(what, text) or _broken_off(what, text)


def no_connection(what: str, text: str, proxy_url: str = "") -> StoreError | None:
    """The error for a connection that could not be made, by the cause in a client's text; None for another failure.

    Args:
        what: the operation, the key and the store.
        text: of the client's exception, with the URL that it asked for.
        proxy_url: the proxy that failed, where the client names it instead.
    """
    url = "" if proxy_url else first_group(_URL, text)
    if flaw := re.search(_BAD_CERTIFICATE, text):
        reason = re.split(r"\W", flaw[1])[-1] if flaw[1] else flaw[2].strip()
        return StoreError(
            f"{what}: the server's certificate is not trusted ({reason}): "
            "check the endpoint, or name its authority's certificate in AWS_CA_BUNDLE"
        )
    if re.search(_NO_TLS, text):
        return StoreError(
            f"{what}: the server does not speak TLS on this port: write http:// into the endpoint, or another port"
        )
    if flaw := re.search(_TLS_FAILED, text):
        reason = "".join(flaw[1].split())
        return StoreError(f"{what}: no TLS connection can be agreed on ({reason}): check the endpoint")
    for pattern, words in _NO_CONNECTION:
        if re.search(pattern, text, re.DOTALL):
            host = _host_of(url) or "the store"
            proxy = _host_of(proxy_url) or _proxy_of(url)
            cause = words.format(who=f"the proxy {proxy}" if proxy else host, host=host)
            check = "http_proxy, https_proxy and no_proxy" if proxy else "the endpoint and the network"
            return Unreachable(f"{what}: {cause}, so no connection could be made: check {check}")
    if "kind: Connect" in text or "ConnectError(" in text:
        return Unreachable(f"{what}: no connection could be made: check the endpoint and the network")
    return None


def tls_wanted(what: str, text: str) -> StoreError | None:
    """The error for the answer of a server that got plain http where it speaks TLS; None for another answer.

    Args:
        what: the operation, the key and the store.
        text: of the client's exception.
    """
    if re.search(_TLS_WANTED, text):
        return StoreError(f"{what}: the server speaks TLS on this port: write https:// into the endpoint")
    return None


def _broken_off(what: str, text: str) -> Transient:
    if "kind: Timeout" in text or "TimedOut" in text:
        return Stalled(f"{what}: no byte came for too long and the request was cut")
    if "non-partial response" in text:  # an error page, or a server that does not know ranges
        return Transient(f"{what}: the store sent something else than the part that was asked for")
    if "error sending request" in text or "response body error" in text:
        plain = " (so does a server that speaks TLS where http:// is written)" if "http://" in text else ""
        return Transient(f"{what}: the connection broke before the whole answer had come{plain}")
    return Transient(f"{what}: {without_query(text)}")


def _proxy_of(url: str) -> str:
    """Host and port of the user's proxy for a URL; empty for none."""
    parts = urlsplit(url)
    if not parts.scheme or not is_proxied(parts):
        return ""
    proxies = urllib.request.getproxies()
    named = proxies.get(parts.scheme) or proxies.get("all", "")
    return _host_of(named if "://" in named else f"http://{named}")


def _host_of(url: str) -> str:
    """Host and port of a URL, without user and password; empty for an empty URL."""
    return urlsplit(url).netloc.rpartition("@")[2]
