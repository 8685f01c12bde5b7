"""The requests in flight follow the link: more while that brings bytes, fewer when the server refuses some."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import cas
from cas.bucket import open_bucket
from cas.bucket.body import Body
from cas.bucket.requests_at_once import RequestsAtOnce
from cas.host import Limits
from cas.store.store import Store
from tests.support.buckets import HURRIED
from tests.support.models import KIB, REPO, check, noise, put_model
from tools.servers.fault_proxy import Fault, FaultProxy
from tools.servers.fault_proxy import Kind as Faulty

SIZE = 8_000_000


class Link:
    """A link on which bodies come as fast as `rate` says, given the number of requests in flight."""

    def __init__(self, rate: Callable[[int], float], most: int = 14) -> None:
        self.now, self._rate = 100.0, rate
        self.requests = RequestsAtOnce(most, lambda: self.now)

    def bodies(self, count: int, *, refused: bool = False) -> list[int]:
        """Let bodies come; return the requests in flight after each."""
        seen = []
        for _ in range(count):
            begun = self.now
            self.now += SIZE / self._rate(self.requests.now)
            self.requests.came(SIZE, begun, refused=refused)
            seen.append(self.requests.now)
        return seen


def test_few_at_first() -> None:
    assert RequestsAtOnce(14).now == 8
    assert RequestsAtOnce(3).now == 3


def test_a_distant_store_gets_more_up_to_the_limit() -> None:
    assert Link(lambda requests: requests * 1e6).bodies(100)[-1] == 14


def test_a_full_link_keeps_the_few() -> None:
    link = Link(lambda requests: 1e8)
    seen = link.bodies(200)
    assert max(seen) == 11, "one step was tried"
    assert seen[-1] == 8


def test_a_step_that_brings_nothing_is_the_last() -> None:
    assert Link(lambda requests: min(requests, 11) * 1e6).bodies(200)[-1] == 11


def test_a_refusal_halves_it_and_a_quiet_server_gets_more_again() -> None:
    link = Link(lambda requests: requests * 1e6)
    link.bodies(100)
    assert link.bodies(1, refused=True) == [7]
    assert link.bodies(1, refused=True) == [3]
    assert link.bodies(5, refused=True)[-1] == 2, "never fewer"
    assert link.bodies(100)[-1] == 14


def test_refusals_of_one_moment_are_one() -> None:
    link = Link(lambda requests: requests * 1e6)
    begun = link.now
    link.now += 1
    for _ in range(5):
        link.requests.came(SIZE, begun, refused=True)
    assert link.requests.now == 4


def test_a_single_request_stays_one() -> None:
    link = Link(lambda requests: 1e6, most=1)
    assert set(link.bodies(20)) == {1}
    assert link.bodies(1, refused=True) == [1]


@pytest.mark.parametrize("status", [429, 503])
def test_a_refused_body_says_so(proxy: FaultProxy, s3_url: str, tmp_path: Path, status: int) -> None:
    store = Store(open_bucket(s3_url, HURRIED))
    files = {"model.bin": noise(64 * KIB, 1)}
    (chunk,) = put_model(store, {REPO: files}).repos[0].files[0].chunks
    proxy.inject(Fault(Faulty.STATUS, status=status, code="SlowDown", path_contains="X-Amz-Signature="))
    body, other = Body(), Body()
    key = f"chunks/{chunk.digest[:2]}/{chunk.digest}"
    into = memoryview(bytearray(128 * KIB))
    assert store.bucket.get_into(key, into, body) == store.bucket.get_into(key, into, other)
    assert (body.refused, other.refused) == (True, False)


@pytest.mark.parametrize("requests", [1, 3])
def test_few_requests_when_few_are_allowed(store: Store, tmp_path: Path, requests: int) -> None:
    files = {"model.bin": noise(12 * 64 * KIB, 1)}
    put_model(store, {REPO: files})
    check(cas.restore("m", store, cache_dir=tmp_path / "hub", limits=Limits(requests=requests)), files)
