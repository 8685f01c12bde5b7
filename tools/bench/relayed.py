"""Cases behind a relay that stands before the server and makes chosen connections slow, or all of them distant.

A relay costs CPU, as much as every byte that it passes on: cases behind one are compared with others behind one.
"""

from __future__ import annotations

from collections.abc import Callable

from tools.bench.client import Client, Measured
from tools.servers.relay import PLAIN, Manner, Relay

_SLOW_RATE = 300_000
"""Bytes per second of a slow connection."""

_SLOW = (6, 7)
"""Which connections of a process are slow: every client here opens as many, and moves large bodies over these."""

_WAY = 0.02
"""Seconds that bytes take each way to a distant store: a round trip of 40 ms."""


def relayed(measure: Callable[[Client], Measured]) -> Callable[[Client], Measured]:
    """Return a case behind a relay that changes nothing."""
    return _behind(lambda number: PLAIN, measure)


def two_slow(measure: Callable[[Client], Measured]) -> Callable[[Client], Measured]:
    """Return a case two of whose connections are slow."""
    return _behind(lambda number: Manner(rate=_SLOW_RATE) if number in _SLOW else PLAIN, measure)


def distant(measure: Callable[[Client], Measured]) -> Callable[[Client], Measured]:
    """Return a case whose store is 40 ms away. The link has its rate all the same."""
    return _behind(lambda number: Manner(delay=_WAY), measure)


def _behind(manner: Callable[[int], Manner], measure: Callable[[Client], Measured]) -> Callable[[Client], Measured]:
    def behind(client: Client) -> Measured:
        scene, link = client.scene, client.link
        host = scene.network.host(link)
        listen = "0.0.0.0" if link.rate else host  # in a network of its own
        with scene.network.server(), Relay("127.0.0.1", scene.server.port, manner, listen=listen) as relay:
            via_relay = Client(scene, link)
            via_relay.endpoint = f"http://{host}:{relay.port}"
            via_relay.environment["AWS_ENDPOINT_URL"] = via_relay.endpoint
            return measure(via_relay)

    return behind
