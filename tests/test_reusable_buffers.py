"""Buffers that are filled again and again, unless somebody still reads what is in them."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest

from cas.parallel import ReusableBuffer


@pytest.mark.parametrize("use", [memoryview, pickle.PickleBuffer, lambda view: view[1:], lambda view: view.cast("c")])
def test_memory_that_was_given_away_serves_again_unless_somebody_still_reads_it(
    use: Callable[[memoryview], memoryview],
) -> None:
    buffer = ReusableBuffer()
    buffer.view(5)[:] = b"first"
    with buffer.given_away(5) as view:
        assert view == b"first"
    assert buffer.view(5) == b"first"
    with buffer.given_away(5) as view:
        reading = use(view)
    buffer.view(5)[:] = b"other"
    assert b"first".endswith(bytes(reading))


def test_a_buffer_is_no_fresh_memory_for_each_size() -> None:
    buffer = ReusableBuffer()
    buffer.view(1)[:] = b"x"
    assert buffer.view(8 << 20)[:1] == b"x"
