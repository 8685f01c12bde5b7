"""Which chunks a store has: lookups and listings tell the same, and what costs less is done."""

from __future__ import annotations

import bisect
import datetime
import random
import threading
from collections.abc import Iterator, Sequence

import pytest

from cas.bucket import Bucket, Entry, Kind
from cas.errors import AccessDenied, ObjectMissing, Unsupported
from cas.formats.digest import Buffer, hex_of
from cas.host import Limits
from cas.store import lookup
from cas.store.layout import chunk_digest, chunk_key
from cas.store.store import Store
from tests.support.by_hand import put

WHEN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def chunk_beside(store: Store, digest: str) -> str:
    """Store a chunk in the folder of another chunk, and return its digest."""
    return next(
        ref.digest for at in range(10**6) if hex_of(b"%d" % at)[:2] == digest[:2] for ref in put(store, b"%d" % at)
    )


@pytest.mark.parametrize("way", ["requests", "one listing", "folders"])
def test_of_chunks_those_that_are_stored_are_told_and_no_others(
    way: str, directory_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few are asked for one by one, many are listed: all ways tell the same, also of a folder with other chunks."""
    sizes = {}
    for data in (b"1", b"22" * 99, b"333"):
        (ref,) = put(directory_store, data)
        sizes[ref.digest] = directory_store.bucket.head(chunk_key(ref.digest)).size
        chunk_beside(directory_store, ref.digest)
    absent = {"0" * 64, "f" * 64, *(digest[:2] + "0" * 62 for digest in sizes)}
    if way != "requests":
        monkeypatch.setattr(lookup, "_FEW", 0)
        monkeypatch.setattr(lookup, "_LOOKUPS_PER_PAGE", 0)
    if way == "folders":
        monkeypatch.setattr(lookup, "_PAGES_IN_A_ROW", -1)
    for asked in ({*sizes}, {*sizes} | absent):
        assert lookup.stored_chunks(directory_store, asked, Limits()) == sizes.keys()
        assert lookup.stored_sizes(directory_store, asked, Limits()) == sizes


class Counted(Bucket):
    """A bucket of chunks that counts requests as an S3 server does.

    Attributes:
        lists: pages that were listed.
        heads: objects that were looked up.
        refusal: what every listing raises; None for no refusal.
    """

    def __init__(self, digests: Sequence[str], page: int = 1000) -> None:
        """Make the bucket. digests: of the chunks (64 hex); page: keys of a page."""
        self.url, self._page = "s3://counted", page
        self._keys = sorted(map(chunk_key, digests))
        self._present = frozenset(self._keys)
        self._counting = threading.Lock()
        self.lists = self.heads = 0
        self.refusal: Exception | None = None

    def pages(self, prefix: str) -> Iterator[list[Entry]]:
        if self.refusal:
            raise self.refusal
        end = bisect.bisect_left(self._keys, f"{prefix}0")  # which follows the slash
        for start in range(bisect.bisect_left(self._keys, f"{prefix}/"), end, self._page):
            with self._counting:
                self.lists += 1
            yield [Entry(key, 10, WHEN) for key in self._keys[start : min(start + self._page, end)]]

    def head(self, key: str) -> Entry:
        with self._counting:
            self.heads += 1
        if key not in self._present:
            raise ObjectMissing(key, self.url)
        return Entry(key, 10, WHEN)

    def list(self, prefix: str) -> list[Entry]:
        return [entry for page in self.pages(prefix) for entry in page]

    def get(self, key: str, limit: int) -> Buffer:
        raise NotImplementedError

    def put(self, key: str, data: Buffer, kind: Kind, *, overwrite: bool = False) -> bool:
        raise NotImplementedError

    def delete(self, key: str) -> None:
        raise NotImplementedError


def made_up(count: int) -> list[str]:
    """Return digests that no bytes have, the same each time."""
    luck = random.Random(count)
    return [f"{luck.getrandbits(256):064x}" for _ in range(count)]


class TestCosts:
    """Pages have 100 keys here, so that a store of 100,000 chunks is what one of 1,000,000 is for a real server."""

    @pytest.fixture(autouse=True)
    def short_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lookup, "_PAGE", 100)

    @pytest.mark.parametrize(
        ("stored", "wanted", "lists", "heads"),
        [
            (100_000, 1100, 1, 1100),  # a model in a large store, of which one page tells how large it is
            (100_000, 128, 0, 128),  # few chunks
            (100_000, 19_000, 256 * 6, 0),  # a large part of the store: by folders
            (1500, 1000, 15, 0),  # a store that is hardly larger than the model: in a row
            (0, 500, 0, 0),  # an empty store: a listing says so at once
        ],
    )
    def test_what_costs_less_is_done(self, stored: int, wanted: int, lists: int, heads: int) -> None:
        present, absent = made_up(stored), made_up(wanted + 7)
        held = {*present[: wanted - 50]}
        asked = held | {*absent[: wanted - len(held)]}
        bucket = Counted(present, 100)
        assert lookup.stored_chunks(Store(bucket), asked, Limits()) == held
        assert bucket.lists <= lists
        assert bucket.heads <= heads

    @pytest.mark.parametrize(
        ("stored", "lists"), [(0, 0), (1, 1), (99, 1), (100, 1), (101, 2), (1500, 15), (20_000, 256 * 2)]
    )
    def test_all_chunks_are_listed_once_each(self, stored: int, lists: int) -> None:
        digests = made_up(stored)
        bucket, seen = Counted(digests, 100), list[str]()
        lookup.list_chunks(Store(bucket), lambda digest, entry: seen.append(digest), Limits())
        assert sorted(seen) == sorted(digests)
        assert bucket.lists <= lists

    @pytest.mark.parametrize("refusal", [Unsupported("no listing"), AccessDenied("objects only")])
    def test_where_nothing_can_be_listed_each_is_looked_up(self, refusal: Exception) -> None:
        digests = made_up(300)
        bucket = Counted(digests[:200])
        bucket.refusal = refusal
        assert lookup.stored_chunks(Store(bucket), digests, Limits()) == {*digests[:200]}
        assert bucket.heads == 300

    def test_a_store_with_foreign_objects_before_its_chunks(self) -> None:
        digests = made_up(150)
        bucket = Counted([*digests, *(f"00{number}" for number in range(140))], 100)
        assert lookup.stored_chunks(Store(bucket), digests, Limits()) == {*digests}
        seen = list[str]()
        lookup.list_chunks(Store(bucket), lambda digest, entry: seen.append(digest), Limits())
        assert sorted(seen) == sorted(digests)
        assert all(chunk_digest(chunk_key(digest)) for digest in seen)
