"""Failures of a request before a whole answer of the server: no connection, no trust, no byte, a body cut short."""

from __future__ import annotations

import re

from cas.bucket.error_texts import first_group, without_query
from cas.bucket.redirects import NOWHERE, REDIRECTED
from cas.errors import CasError, Redirected, Stalled, StoreError, Transient, Unreachable

# What object_store misses in an answer, which no other try brings.
_UNUSABLE_ANSWER = (
    r"(?i)(Content-Length Header|Invalid content length|(Missing|Invalid) (last modified|etag))[^\n]{0,99}"
)
_BAD_CERTIFICATE = r"InvalidCertificate\(\s*(\w+)"


def failure_without_answer(what: str, text: str) -> CasError:  # noqa: PLR0911 (in order)
    """The error for an exception of obstore that carries no answer of the server.

    Args:
        what: the operation, the key and the store.
        text: of the exception.
    """
    if missing := re.search(_UNUSABLE_ANSWER, text):
        return StoreError(
            f"{what}: the answer cannot be used ({missing[0]}): check the endpoint, or the proxy before it"
        )
    if "redirect" in text or NOWHERE in text:
        return Redirected(f"{what}: {REDIRECTED}")
    if flaw := first_group(_BAD_CERTIFICATE, text):
        return StoreError(
            f"{what}: the server's certificate is not trusted ({flaw}): "
            "check the endpoint, or name its authority's certificate in AWS_CA_BUNDLE"
        )
    if "kind: Connect" in text or "ConnectError(" in text:
        return Unreachable(f"{what}: no connection could be made: check the endpoint and the network")
    if "kind: Timeout" in text or "TimedOut" in text:
        return Stalled(f"{what}: no byte came for too long and the request was cut")
    if "non-partial response" in text:  # an error page, or a server that does not know ranges
        return Transient(f"{what}: the store sent something else than the part that was asked for")
    if "error sending request" in text or "response body error" in text:
        return Transient(f"{what}: the connection broke before the whole answer had come")
    return Transient(f"{what}: {without_query(text)}")
