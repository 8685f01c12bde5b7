"""Receipts as they are read: all of them, each once, joined with later phases, whatever else lies among them."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from cas import host
from cas.bucket import Kind
from cas.formats.digest import named
from cas.store import layout
from cas.store.receipt import (
    LATER_PHASES,
    MOST_PHASES,
    RECEIPTS,
    Bytes,
    Interval,
    LaterPhases,
    PhaseTime,
    Receipt,
    covered,
)
from cas.store.receipt_cache import ReceiptCache
from cas.store.receipts import Read, list_receipts, read_receipts
from cas.store.store import Store, open_store

A = "ab" * 32
ID = "0123456789abcdef"


def receipt(
    when: str = "2026-11-23T11:26:59Z", deployment: str = "eu", phases: tuple[PhaseTime, ...] = (), seconds: float = 1.0
) -> Receipt:
    """One that says little."""
    return Receipt(
        manifest=named(A),
        model="m",
        deployment=deployment,
        reason="because",
        when=when,
        seconds=seconds,
        ok=True,
        phases=phases,
        bytes=Bytes(total=1, present=0, fetched=1, wire=1, reused=0),
        rate=1.0,
        host=host.facts(),
        versions={},
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = open_store(str(tmp_path / "store"))
    made.create()
    return made


@pytest.fixture
def read(store: Store, tmp_path: Path) -> Callable[..., Read]:
    """Read the receipts, with a cache of the test's own."""
    cache = ReceiptCache(tmp_path / "cache", store.where)
    return lambda *words, **options: read_receipts(store, *words, cache=cache, **options)


def put(store: Store, one: Receipt) -> str:
    key = one.key()
    store.bucket.put(key, RECEIPTS.encode(one), Kind.DOCUMENT)
    return key


def put_later(store: Store, key: str, number: int, *phases: PhaseTime, program: str = ID) -> None:
    data = LATER_PHASES.encode(LaterPhases(phases=phases))
    store.bucket.put(layout.later_phases_key(key, program, number), data, Kind.DOCUMENT)


def test_they_come_oldest_first_and_those_that_cannot_be_read_are_named(
    store: Store, read: Callable[..., Read]
) -> None:
    keys = [put(store, receipt(deployment=name)) for name in ("eu", "us", "eu")]
    bad = layout.receipt_key("eu", "2026-11-23T11:26:59Z", A, ID)
    for data in (b"{}", b"[" * 60_000, b"\xff", b'{"seconds": 1e300}', b"x" * ((1 << 20) + 1)):
        store.bucket.put(bad, data, Kind.DOCUMENT, overwrite=True)
        found = read()
        assert ([one.key for one in found.receipts], found.damaged) == (keys, (bad,))
    assert [one.key for one in read("us").receipts] == keys[1:2]
    assert [one.id for one in read().receipts] == [key.rpartition("-")[2][:16] for key in keys]
    newest = read(newest=1)
    assert (len(newest.receipts), newest.left_out) == (0, 3)  # the damaged one is the newest
    assert len(read(wanted=lambda entry: entry.key == keys[0]).receipts) == 1


def test_the_store_s_clock_says_what_is_in_the_time(store: Store, read: Callable[..., Read]) -> None:
    key = put(store, receipt("1990-01-01T00:00:00Z"))
    (one,) = read().receipts
    hour = datetime.timedelta(hours=1)
    assert one.written - hour > datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    assert [found.key for found in read(since=one.written, until=one.written).receipts] == [key]
    assert read(since=one.written + hour).receipts == read(until=one.written - hour).receipts == ()


def test_later_phases_belong_to_their_receipt_of_each_program_the_newest_document(
    store: Store, read: Callable[..., Read]
) -> None:
    key = put(store, receipt(phases=(PhaseTime("fetch", 1.0, 0.0),)))
    compile_, warm = PhaseTime("compile", 2.0, 1.0), PhaseTime("warm-up", 1.0, 3.0)
    put_later(store, key, 0, compile_)
    put_later(store, key, 1, compile_, warm)
    put_later(store, key, 0, PhaseTime("other", 0.5, 1.0), program="f" * 16)
    put_later(store, layout.receipt_key("eu", "2026-11-23T11:26:59Z", A, "e" * 16), 0, compile_)  # of no receipt
    for _ in range(2):
        (one,) = read().receipts
        assert sorted(phase.name for phase in one.receipt.phases) == ["compile", "fetch", "other", "warm-up"]
        assert (one.receipt.seconds, one.receipt.wall, one.receipt.named) == (1.0, 4.0, 4.0)
    put_later(store, key, 2, compile_, warm, PhaseTime("more", 1.0, 4.0))
    assert read().receipts[0].receipt.wall == 5.0
    store.bucket.put(layout.later_phases_key(key, "d" * 16, 0), b"{}", Kind.DOCUMENT)
    assert read().damaged == (layout.later_phases_key(key, "d" * 16, 0),)
    assert read().receipts[0].receipt.wall == 5.0


def test_what_was_read_is_not_read_again_and_a_damaged_cache_is(
    store: Store, read: Callable[..., Read], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in (23, 24):
        for _ in range(2):
            put_later(store, put(store, receipt(f"2026-11-{day}T11:26:59Z")), 0, PhaseTime("compile", 1.0, 1.0))
    gotten: list[str] = []
    real = store.bucket.get_into
    monkeypatch.setattr(store.bucket, "get_into", lambda key, into: gotten.append(key) or real(key, into))
    first = read()
    assert (len(first.receipts), len(gotten)) == (4, 8)
    assert (read(), len(gotten)) == (first, 8)
    store.bucket.put(first.receipts[0].key, RECEIPTS.encode(receipt(seconds=7.5)), Kind.DOCUMENT, overwrite=True)
    assert (sorted(one.receipt.seconds for one in read().receipts), len(gotten)) == ([1.0, 1.0, 1.0, 7.5], 9)
    files = sorted((tmp_path / "cache").iterdir())
    assert len(files) == 2
    content = files[0].read_bytes()
    for damaged in (content[:-1], content[:40] + b"x" + content[41:], b"", b"\x00" * 100):
        files[0].write_bytes(damaged)
        gotten.clear()
        for _ in range(2):
            assert (len(read().receipts), len(gotten)) == (4, 4)
    files[0].unlink()
    files[0].mkdir()
    assert len(read().receipts) == 4
    # Of another store, nothing of it counts.
    other = ReceiptCache(tmp_path / "cache", "s3://other/cas")
    gotten.clear()
    assert len(read_receipts(store, cache=other).receipts) == 4
    assert len(gotten) == 8


HUGE = 10**400


@pytest.mark.parametrize(
    "wrong",
    [
        {"when": "9999-99-99T99:99:99Z"},
        {"when": "0000-00-00T00:00:00Z"},
        {"when": "9999-12-31T23:59:59Z"},
        {"bytes": {"total": HUGE, "present": None, "fetched": 0, "wire": 0, "reused": 0}},
        {"bytes": {"total": 0, "present": -1, "fetched": 0, "wire": 0, "reused": 0}},
        {"rate": -1},
        {"second_requests": {"requests": HUGE, "won": 0, "bytes": 0}},
        {"phases": [{"name": "fetch", "seconds": 1.0, "begun": 0.0}] * (MOST_PHASES + 1)},
    ],
)
def test_what_no_restore_writes_is_malformed_and_ends_no_reader_of_all(
    store: Store, read: Callable[..., Read], wrong: dict[str, object]
) -> None:
    good = put(store, receipt())
    bad = layout.receipt_key("eu", "2026-11-23T11:26:59Z", A, ID)
    document = {**json.loads(RECEIPTS.encode(receipt())), **wrong}
    store.bucket.put(bad, json.dumps(document).encode(), Kind.DOCUMENT)
    found = read()
    assert ([one.key for one in found.receipts], found.damaged) == ([good], (bad,))


def test_later_phases_are_as_many_as_a_reader_can_lay_out(store: Store, read: Callable[..., Read]) -> None:
    key = put(store, receipt())
    for program in ("a" * 16, "b" * 16):
        put_later(store, key, 0, *[PhaseTime("x", 1.0, 1.0)] * MOST_PHASES, program=program)
    (one,) = read().receipts
    assert len(one.receipt.phases) == MOST_PHASES


def test_what_another_release_kept_and_this_one_cannot_read_is_damaged(
    store: Store, read: Callable[..., Read], tmp_path: Path
) -> None:
    keys = [put(store, receipt()) for _ in range(2)]
    (listed,) = (entry for entry in list_receipts(store).receipts if entry.key == keys[0])
    cache = ReceiptCache(tmp_path / "cache", store.where)
    cache.put(keys[0].rpartition("/")[0], [(listed, b'{"version": 9}')])
    found = read_receipts(store, cache=cache)
    assert ([one.key for one in found.receipts], found.damaged) == (keys[1:], (keys[0],))


def test_a_reader_of_a_part_leaves_the_rest_in_the_cache(
    store: Store, read: Callable[..., Read], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [put(store, receipt()) for _ in range(2)]
    read(wanted=lambda entry: entry.key == keys[0])
    read(wanted=lambda entry: entry.key == keys[1])
    monkeypatch.setattr(store.bucket, "get", lambda key, limit: pytest.fail(f"{key} is in the cache"))
    assert len(read().receipts) == 2


def test_phases_without_a_beginning_are_laid_end_to_end() -> None:
    old = receipt(phases=(PhaseTime("resolve", 0.25), PhaseTime("fetch", 0.5)), seconds=1.0)
    assert old.intervals() == (Interval("resolve", 0.0, 0.25), Interval("fetch", 0.25, 0.75))
    assert (old.began, old.wall, old.named) == (0.0, 1.0, 0.75)
    assert msgspec.json.decode(b'{"name": "fetch", "seconds": 1.0}', type=PhaseTime).begun is None


def test_what_several_phases_cover_counts_once() -> None:
    phases = (PhaseTime("python", 1.0, -1.0), PhaseTime("wait", 4.0, 0.0), PhaseTime("imports", 2.0, 1.0))
    boot = receipt(phases=(*phases, PhaseTime("load", 1.0, 5.0)), seconds=6.0)
    assert (boot.began, boot.wall, boot.named) == (-1.0, 7.0, 6.0)
    assert covered(()) == 0.0
