"""Every fault, seen from a client of the standard library; the server behind is the local hub."""

import http.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tools.servers.fault_proxy import Exchange, Fault, FaultProxy, Kind
from tools.servers.hub import Hub

CONTENT = bytes(range(256)) * 4096
PATH = "/org/model/resolve/main/model.bin"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    (tmp_path / "org/model").mkdir(parents=True)
    (tmp_path / "org/model/model.bin").write_bytes(CONTENT)
    with Hub(tmp_path) as hub:
        yield hub


@pytest.fixture
def proxy(hub: Hub) -> Iterator[FaultProxy]:
    host, _, port = hub.url.removeprefix("http://").partition(":")
    with FaultProxy(host, int(port)) as proxy:
        yield proxy


def ask(
    proxy: FaultProxy, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=30)
    try:
        connection.request(method, PATH, body, headers or {})
        response = connection.getresponse()
        return response.status, dict(response.headers), response.read()
    finally:
        connection.close()


def test_without_faults_nothing_changes(proxy: FaultProxy) -> None:
    connection = http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=30)
    for method, length in (("HEAD", 0), ("GET", len(CONTENT)), ("GET", len(CONTENT))):
        connection.request(method, PATH)
        response = connection.getresponse()
        assert (response.status, response.headers["Content-Length"]) == (200, str(len(CONTENT)))
        assert response.read() == CONTENT[:length]
        assert not response.will_close  # all three go through one connection
    connection.close()
    assert proxy.requests[0] == Exchange("HEAD", PATH, 200, 0)
    assert proxy.requests[1] == Exchange("GET", PATH, 200, len(CONTENT))
    assert (proxy.count(), proxy.count("GET"), proxy.count(path_contains="none")) == (3, 2, 0)


def test_status_carries_what_s3_would_send(proxy: FaultProxy, hub: Hub) -> None:
    proxy.inject(Fault(Kind.STATUS, status=503, code="SlowDown", retry_after=7))
    status, headers, body = ask(proxy, "PUT", CONTENT)
    assert (status, headers["Retry-After"]) == (503, "7")
    assert b"<Code>SlowDown</Code>" in body
    assert hub.requests == []
    assert ask(proxy)[0] == 200


@pytest.mark.parametrize(("kind", "seen"), [(Kind.DROP_BEFORE, 0), (Kind.DROP_RESPONSE, 1)])
def test_dropped_requests(proxy: FaultProxy, hub: Hub, kind: Kind, seen: int) -> None:
    proxy.inject(Fault(kind))
    with pytest.raises(ConnectionError):
        ask(proxy)
    assert len(hub.requests) == seen


@pytest.mark.parametrize("fault", [Fault(Kind.TRUNCATE), Fault(Kind.STALL, seconds=0)])
def test_bodies_that_end_early(proxy: FaultProxy, fault: Fault) -> None:
    proxy.inject(fault)
    with pytest.raises(http.client.IncompleteRead) as error:
        ask(proxy)
    assert error.value.partial == CONTENT[: len(CONTENT) // 2]


def test_a_stall_lasts_until_the_proxy_closes(hub: Hub) -> None:
    host, _, port = hub.url.removeprefix("http://").partition(":")
    with FaultProxy(host, int(port)) as proxy:
        proxy.inject(Fault(Kind.STALL))
        connection = http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=0.2)
        connection.request("GET", PATH)
        response = connection.getresponse()
        with response, pytest.raises(TimeoutError):
            response.read()
        connection.close()


def test_bodies_that_are_wrong(proxy: FaultProxy) -> None:
    proxy.inject(Fault(Kind.SHORT_LENGTH))
    proxy.inject(Fault(Kind.BIT_FLIP))
    proxy.inject(Fault(Kind.ERROR_PAGE))
    _, headers, body = ask(proxy)
    assert body == CONTENT[: len(CONTENT) // 2]
    assert headers["Content-Length"] == str(len(body))
    _, _, body = ask(proxy)
    assert [at for at in range(len(CONTENT)) if body[at] != CONTENT[at]] == [len(CONTENT) // 2]
    status, headers, body = ask(proxy)
    assert (status, headers["Content-Type"], body[:9]) == (200, "text/html", b"<!DOCTYPE")


def test_ranges_are_ignored(proxy: FaultProxy) -> None:
    proxy.inject(Fault(Kind.IGNORE_RANGE))
    status, _, body = ask(proxy, headers={"Range": "bytes=0-9"})
    assert (status, body) == (200, CONTENT)
    assert ask(proxy, headers={"Range": "bytes=0-9"})[2] == CONTENT[:10]


def test_a_trickle_comes_in_small_pieces(proxy: FaultProxy) -> None:
    proxy.inject(Fault(Kind.TRICKLE, bytes_per_second=1000))
    connection = http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=30)
    connection.request("GET", PATH)
    with connection.getresponse() as response:
        assert len(response.read1()) < 1000
    connection.close()


def test_faults_hit_the_requests_they_are_meant_for(proxy: FaultProxy) -> None:
    proxy.inject(Fault(Kind.STATUS, status=501, method="PUT", times=None))
    proxy.inject(Fault(Kind.STATUS, status=500, path_contains="nowhere"))
    proxy.inject(Fault(Kind.STATUS, status=503, after=1, times=2))
    assert [ask(proxy)[0] for _ in range(4)] == [200, 503, 503, 200]
    assert [ask(proxy, "PUT", b"x")[0] for _ in range(3)] == [501] * 3
    proxy.inject(Fault(Kind.STATUS, status=500, times=None))
    proxy.clear()
    assert ask(proxy)[0] == 200
    assert proxy.requests[-1].fault is None


def test_uploads_arrive_whole(proxy: FaultProxy) -> None:
    proxy.inject(Fault(Kind.STATUS, status=201, body=b"stored", times=None))  # a server that takes everything
    host, _, port = proxy.url.removeprefix("http://").partition(":")
    with FaultProxy(host, int(port)) as front:
        assert ask(front, "PUT", CONTENT)[::2] == (201, b"stored")
        connection = http.client.HTTPConnection(front.url.removeprefix("http://"), timeout=30)
        connection.request("PUT", PATH, iter([b"a" * 300_000, b"b"]), encode_chunked=True)
        assert connection.getresponse().read() == b"stored"
        connection.close()
        with ThreadPoolExecutor(8) as pool:
            assert {status for status, _, _ in pool.map(lambda _: ask(front, "PUT", CONTENT), range(16))} == {201}
    assert [seen.received for seen in proxy.requests] == [len(CONTENT), 300_001] + [len(CONTENT)] * 16


def test_parallel_clients_get_what_they_asked_for(proxy: FaultProxy) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: ask(proxy)[2] == CONTENT, range(24))) == {True}
