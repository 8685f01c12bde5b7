"""Hosts of reference audio whose names have several addresses, or other ones the next moment."""

from __future__ import annotations

import socket
import ssl
import threading
from typing import Any

import pytest

from tests.worker.jobs.test_reference_url import get, refused
from tests.worker.jobs.web import AUDIO, Web, redirect
from worker.errors import BadRequest
from worker.jobs.reference_url import fetch


class Resolver:
    """Resolves names as a test says.

    Attributes:
        answers: the addresses for each lookup of a name, in order; the last ones stay.
        looked_up: the names that were looked up.
        connected: the addresses that a connection was made to.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
        self.answers, self.looked_up, self.connected = [*answers], list[str](), list[str]()
        self._look_up, connect = socket.getaddrinfo, socket.socket.connect
        monkeypatch.setattr(socket, "getaddrinfo", self.getaddrinfo)

        def connect_and_note(connection: socket.socket, address: Any) -> None:
            self.connected.append(address[0])
            if not address[0].startswith("127."):
                raise ConnectionRefusedError  # no test leaves this machine
            connect(connection, address)

        monkeypatch.setattr(socket.socket, "connect", connect_and_note)

    def getaddrinfo(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if str(host)[:1].isdigit() or ":" in str(host):
            return self._look_up(host, port, *args, **kwargs)
        self.looked_up.append(host)
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [found for address in addresses for found in self._look_up(address, port, *args, **kwargs)]


@pytest.mark.parametrize("private", ["10.0.0.1", "127.0.0.1", "169.254.169.254", "fd00:ec2::254"])
@pytest.mark.parametrize("first", [True, False])
def test_every_address_of_a_name_must_be_public(
    web: Web, trusting: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, private: str, first: bool
) -> None:
    addresses = [private, "8.8.8.8"] if first else ["8.8.8.8", "1.1.1.1", private]
    resolver = Resolver(monkeypatch, addresses)
    with pytest.raises(BadRequest, match="its address is not a public one"):
        fetch(f"{web.url}/audio", context=trusting)
    assert (resolver.connected, web.asked) == ([], [])


def test_the_connection_goes_to_the_address_that_was_checked(
    web: Web, trusting: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver(monkeypatch, ["8.8.8.8"], ["127.0.0.1"])
    with pytest.raises(BadRequest, match="the connection failed"):
        fetch(f"{web.url}/audio", context=trusting)
    assert (resolver.looked_up, resolver.connected, web.asked) == (["localhost"], ["8.8.8.8"], [])


def test_a_name_that_leads_elsewhere_at_a_redirect_is_judged_again(
    web: Web, trusting: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    web.answers["/a"] = redirect("/audio")
    with pytest.raises(BadRequest, match="its address is not a public one"):
        fetch(f"{web.url}/a", allowed=lambda address: address == "127.0.0.1", context=trusting)
    assert (resolver.connected, web.asked) == (["127.0.0.1"], ["/a"])


def test_an_address_that_refuses_makes_way_for_the_next(
    web: Web, trusting: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver(monkeypatch, ["8.8.8.8", "127.0.0.1"])
    assert get(f"{web.url}/audio", trusting) == AUDIO
    assert resolver.connected == ["8.8.8.8", "127.0.0.1"]


def test_a_name_without_any_address_is_refused(trusting: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    Resolver(monkeypatch, [])
    assert "its address is not a public one" in refused("https://host/", trusting)


def test_a_resolver_that_never_answers_is_cut_at_the_deadline(
    trusting: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: ended.wait(10) and [])
    assert "took more than 0.2 s" in refused("https://host/", trusting, seconds=0.2)
    ended.set()
