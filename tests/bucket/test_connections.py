"""Which connections are used again: those that keep up with the others."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import SplitResult, urlsplit

import pytest

from cas.bucket.http.connections import Connections, cut
from tools.servers.habits import HabitServer


@pytest.fixture
def url() -> Iterator[SplitResult]:
    with HabitServer() as server:
        yield urlsplit(server.url)


@pytest.fixture
def connections() -> Connections:
    return Connections(5, "")


def reused(connections: Connections, url: SplitResult, *bodies: tuple[int, float]) -> list[bool]:
    """Whether a connection is used again after a body of that size that took so many seconds, for each."""
    found = []
    for size, seconds in bodies:
        connection = connections.acquire(url, fresh=False)
        connections.release(connection, size, seconds)
        again = connections.acquire(url, fresh=False)
        found.append(again is connection)
        again.close()
    return found


def test_one_that_is_far_behind_is_given_up(connections: Connections, url: SplitResult) -> None:
    usual = [(8_000_000, 0.8)] * 5
    assert reused(connections, url, *usual, (8_000_000, 27.0), *usual) == [True] * 5 + [False] + [True] * 5


def test_all_are_equally_slow(connections: Connections, url: SplitResult) -> None:
    assert all(reused(connections, url, *[(8_000_000, 27.0)] * 8))


def test_a_small_body_on_a_quick_connection_is_no_slow_one(connections: Connections, url: SplitResult) -> None:
    assert all(reused(connections, url, *[(8_000_000, 0.8)] * 5, (4_000, 0.1)))


def test_one_that_gets_less_of_a_shared_link_is_kept(connections: Connections, url: SplitResult) -> None:
    assert all(reused(connections, url, *[(8_000_000, 0.8)] * 5, (8_000_000, 3.0)))


def test_a_cut_wakes_the_thread_that_reads(connections: Connections, url: SplitResult) -> None:
    connection = connections.acquire(url, fresh=True)
    sock = connection.sock
    cut(sock)
    assert sock.recv(1) == b""
    connection.close()
    cut(sock)  # closed before it could be cut
