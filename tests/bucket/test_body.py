"""A body that several requests bring: each writes what is missing, the first to end it wins, the others are cut."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest

from cas.bucket.body import Body, Pace


class Wire:
    """A request for a body, as the body sees it."""

    def __init__(self, body: Body) -> None:
        self.is_cut = False
        self.is_welcome = body.begin(self, self._cut)

    def _cut(self) -> None:
        self.is_cut = True


@pytest.fixture
def memory() -> bytearray:
    return bytearray(b"----------")


@pytest.fixture
def body(memory: bytearray) -> Body:
    body = Body()
    body.offer(memoryview(memory), lambda: None)
    assert body.is_of(8)
    return body


class TestTheRace:
    def test_the_rest_comes_by_another_request(self, body: Body, memory: bytearray) -> None:
        first, second = Wire(body), Wire(body)
        memory[:3] = b"abc"
        body.arrived(3, 3)
        assert body.fill(second, 3, memoryview(b"def"))
        assert not body.is_whole
        assert body.fill(second, 6, memoryview(b"gh"))
        assert body.is_whole
        assert body.end(second)
        assert (first.is_cut, second.is_cut) == (True, False)
        assert (body.leave(first), body.leave(second)) == (False, True)
        assert memory == b"abcdefgh--"

    def test_the_first_request_may_win(self, body: Body, memory: bytearray) -> None:
        first, second = Wire(body), Wire(body)
        body.fill(second, 0, memoryview(b"abc"))
        body.arrived(8, 8)
        assert body.end(first)
        assert second.is_cut
        assert not body.end(second)

    def test_nothing_is_written_once_it_has_ended(self, body: Body, memory: bytearray) -> None:
        first, second = Wire(body), Wire(body)
        body.end(first)
        assert not body.fill(second, 0, memoryview(b"x"))
        assert memory == b"----------"
        assert not Wire(body).is_welcome
        assert body.again is None

    def test_bytes_that_came_twice_are_counted(self, body: Body) -> None:
        second = Wire(body)
        body.arrived(2, 2)
        body.asked = 1
        body.fill(second, 2, memoryview(b"cdefgh"))
        body.arrived(5, 3)
        assert (body.done, body.twice) == (8, 3)

    def test_an_answer_of_another_size_is_of_no_use(self, body: Body) -> None:
        assert body.is_of(8)
        assert not body.is_of(7)

    @pytest.mark.parametrize("size", [-1, 11])
    def test_an_object_that_does_not_fit_is_refused(self, memory: bytearray, size: int) -> None:
        body = Body()
        body.offer(memoryview(memory), lambda: None)
        assert not body.is_of(size)
        assert body.is_of(10)

    def test_another_bucket_begins_anew(self, body: Body, memory: bytearray) -> None:
        body.arrived(5, 5)
        body.offer(memoryview(memory), lambda: None)
        assert (body.size, body.done) == (None, 0)

    def test_another_bucket_begins_anew_after_a_body_that_was_of_no_use(self, body: Body, memory: bytearray) -> None:
        first = Wire(body)
        body.arrived(8, 8)
        assert body.end(first)
        assert body.leave(first)
        body.refused = True
        body.offer(memoryview(memory), lambda: None)
        assert not body.refused
        again = Wire(body)
        assert again.is_welcome
        assert body.end(again)

    def test_what_the_bucket_before_it_was_asked_for_has_no_say(self, body: Body, memory: bytearray) -> None:
        stale = Wire(body)
        body.offer(memoryview(memory), lambda: None)
        first = Wire(body)
        assert (stale.is_cut, first.is_cut) == (True, False)
        assert not body.fill(stale, 0, memoryview(b"x"))
        assert memory == b"----------"
        assert not body.end(stale)
        assert body.end(first)

    def test_a_request_that_leaves_waits_until_it_has_been_cut(self, body: Body) -> None:
        """Its socket is closed then, and the number of the socket may be another one's: nobody may cut that."""
        left: list[bool] = []

        def cut() -> None:
            leaving = threading.Thread(target=lambda: left.append(body.leave("slow")))
            leaving.start()
            leaving.join(0.05)
            assert left == []

        body.begin("slow", cut)
        body.begin("fast", lambda: None)
        assert body.end("fast")
        assert body.leave("fast")


class TestPace:
    def test_none_before_the_first_body(self) -> None:
        assert (Pace().rate, Pace().size) == (0, 0)

    def test_half_of_the_bytes_came_so_fast(self) -> None:
        pace = Pace()
        for seconds in (1, 1, 1, 100):
            pace.note(1000, seconds)
        assert pace.rate == 1000

    def test_small_bodies_say_little(self) -> None:
        pace = Pace()
        for _ in range(20):
            pace.note(10, 1)
        pace.note(10_000, 10)
        assert pace.rate == 1000

    def test_the_last_ones_count(self) -> None:
        pace, rates = Pace(), []
        for seconds in [1] * 40 + [10] * 40:
            pace.note(1000, seconds)
            rates.append(pace.rate)
        assert (rates[0], rates[-1]) == (1000, 100)
        assert all(later <= earlier for earlier, later in pairwise(rates))
