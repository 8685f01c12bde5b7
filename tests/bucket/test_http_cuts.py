"""Bodies that are cut: by their deadline, by a faster request; also where the server closes after each answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from cas.bucket.body import Body
from cas.bucket.http.reader import DirectReader
from cas.parallel import BackgroundCall
from tests.support.buckets import HURRIED
from tests.support.web import QuietFiles
from tools.servers.relay import Hold, Manner, Relay
from tools.servers.serving import ClosableServer

CONTENT = bytes(range(256)) * 1024
ENDLESS = replace(HURRIED, answer=600, silence=600)
"""With these limits only another request ends a body that is held back."""


class _Lasting(QuietFiles):
    protocol_version = "HTTP/1.1"


@pytest.fixture(params=[QuietFiles, _Lasting], ids=["closes", "lasts"])
def relayed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[Manner], str]]:
    """A function that returns the URL of a file server behind a relay; it closes each connection, or keeps it."""
    (tmp_path / "key").write_bytes(CONTENT)
    server = ClosableServer(("127.0.0.1", 0), partial(request.param, directory=str(tmp_path)))
    server.start()
    with ExitStack() as stack:
        stack.callback(server.stop)
        yield lambda manner: stack.enter_context(Relay("127.0.0.1", server.port, lambda _: manner)).url


def _reading(url: str, into: memoryview, body: Body) -> tuple[DirectReader, BackgroundCall[int | None]]:
    """A reader that reads `key` in the background, and waits for the rest of it."""
    reader = DirectReader(lambda key: f"{url}/{key}", ENDLESS)
    return reader, BackgroundCall(lambda: reader.read("key", into, body))


def _wait_for_bytes(body: Body, call: BackgroundCall[int | None]) -> None:
    while not body.done:
        assert not call.ends_within(0.005)


def test_a_trickle_is_cut_at_its_deadline(relayed: Callable[[Manner], str]) -> None:
    url = relayed(Manner(rate=20_000))
    reader = DirectReader(lambda key: f"{url}/{key}", replace(HURRIED, answer=0.1, rate=1e9))
    assert reader.read("key", memoryview(bytearray(len(CONTENT)))) is None


def test_the_faster_of_two_requests_cuts_the_other(relayed: Callable[[Manner], str]) -> None:
    hold, body, into = Hold(50_000), Body(), bytearray(len(CONTENT))
    _, call = _reading(relayed(Manner(hold=hold)), memoryview(into), body)
    try:
        _wait_for_bytes(body, call)
        assert body.again is not None
        body.again()
        assert call.ends_within(10)
    finally:
        hold.released.set()
    assert call.result() == len(CONTENT)
    assert into == CONTENT
    assert (body.asked, body.won) == (1, True)


def test_the_rest_is_asked_for_while_the_reader_rests(relayed: Callable[[Manner], str]) -> None:
    hold, body, into = Hold(50_000), Body(), bytearray(len(CONTENT))
    reader, call = _reading(relayed(Manner(hold=hold)), memoryview(into), body)
    try:
        _wait_for_bytes(body, call)
        assert reader.read("none", memoryview(bytearray(9))) is None
        assert body.again is not None
        body.again()
        assert call.ends_within(10)
    finally:
        hold.released.set()
    assert into == CONTENT
