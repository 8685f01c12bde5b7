"""Who may ask: the server's own token, and the token of the caller's that goes upstream.

A hub's client has one token, which it sends as `Authorization: Bearer TOKEN`. Without --token it is the caller's own
for the upstream hub. With --token it is the server's; a caller who needs one upstream, too, writes both into HF_TOKEN,
as `SERVER:UPSTREAM`. The server's token never goes upstream.
"""

from __future__ import annotations

import hmac
from typing import NamedTuple

from cas.ops.serve.answers import Refusal

OPEN_PATHS = frozenset({"/health"})
"""What is answered without a token: a load balancer has none, and the answer tells nothing of the store."""


class Caller(NamedTuple):
    """Somebody whose request may be answered.

    Attributes:
        upstream_token: what the caller sends to the upstream hub; empty for nothing.
    """

    upstream_token: str = ""


class Access:
    """The rule by which requests are let in.

    Args:
        token: what callers must send; None to let in everybody who can reach the port.
    """

    def __init__(self, token: str | None) -> None:
        self._token = token.encode() if token else None

    def admit(self, authorization: str) -> Caller:
        """Return the caller who sends this Authorization header.

        Raises:
            Refusal: the header does not hold the server's token.
        """
        scheme, _, given = authorization.partition(" ")
        given = given.strip() if scheme.lower() == "bearer" and given.isascii() else ""  # no token has other letters
        if self._token is None:
            return Caller(given)
        sent = given.encode()
        own, rest = sent[: len(self._token)], sent[len(self._token) :]  # a token may itself have a colon
        if hmac.compare_digest(own, self._token) and rest[:1] in (b"", b":"):
            return Caller(rest[1:].decode())
        raise Refusal(
            401,
            "",
            "this server answers only with its token: set HF_TOKEN to it",
            {"WWW-Authenticate": 'Bearer realm="cas"'},
        )
