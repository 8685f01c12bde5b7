"""Listings of a server that repeats itself, never ends, fails now and then, or shows keys that are not ours."""

from __future__ import annotations

import bisect
import logging
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from cas.bucket import Bucket, open_bucket
from cas.bucket import listing as rules
from cas.bucket.listing import ForeignNames, ListingProgress, flaw_of
from cas.errors import ListingUnbounded, Transient
from tests.bucket.lister import Answer, Lister, page
from tests.bucket.recording import Environment, serving
from tests.support.buckets import HURRIED


@pytest.fixture
def lister(monkeypatch: Environment) -> Iterator[Lister]:
    with Lister() as server, serving(server, server.url, monkeypatch):
        yield server


@pytest.fixture
def bucket(lister: Lister) -> Bucket:
    return open_bucket("s3://b/cas", HURRIED)


def keys(number: int, each: int = 1000) -> list[str]:
    return [f"cas/refs/{number:04d}/{index:04d}" for index in range(each)]


class TestEndless:
    """A listing that does not go on or does not end is an error that names the server, and is not tried again."""

    def test_the_same_page_again_and_again(self, lister: Lister, bucket: Bucket) -> None:
        lister.answer = lambda query, number: (200, page(keys(1), "t"))
        with pytest.raises(ListingUnbounded, match="no key beyond the last one") as error:
            bucket.list("refs")
        assert lister.url in str(error.value)
        assert len(lister.queries) < 6

    def test_pages_that_go_back(self, lister: Lister, bucket: Bucket) -> None:
        lister.answer = lambda query, number: (200, page(keys(1000 - number), f"t{number}"))
        with pytest.raises(ListingUnbounded, match="no key beyond"):
            bucket.list("refs")
        assert len(lister.queries) < 6

    def test_two_pages_in_turn(self, lister: Lister, bucket: Bucket) -> None:
        lister.answer = lambda query, number: (200, page(keys(number % 2), f"t{number % 2}"))
        with pytest.raises(ListingUnbounded, match="no key beyond"):
            bucket.list("refs")
        assert len(lister.queries) < 8

    def test_new_keys_without_end(self, lister: Lister, bucket: Bucket, monkeypatch: Environment) -> None:
        monkeypatch.setattr(rules, "MAX_PAGES", 12)
        lister.answer = lambda query, number: (200, page(keys(number), f"t{number}"))
        with pytest.raises(ListingUnbounded, match="more than 12 pages"):
            bucket.list("refs")
        assert 12 <= len(lister.queries) < 20

    @pytest.mark.parametrize("same", [True, False])
    def test_without_end_where_one_key_is_foreign(
        self, lister: Lister, bucket: Bucket, monkeypatch: Environment, same: bool
    ) -> None:
        monkeypatch.setattr(rules, "MAX_PAGES", 12)

        def answer(query: dict[str, str], number: int) -> Answer:
            return 200, page(["cas/refs//x", *keys(1 if same else number, 5)], "t" if same else f"t{number}")

        lister.answer = answer
        with pytest.raises(ListingUnbounded, match=r"same continuation token|no key beyond|more than 12 pages"):
            bucket.list("refs")
        assert len(lister.queries) < 20

    def test_empty_pages_without_end_in_the_listing_of_versions(
        self, lister: Lister, bucket: Bucket, monkeypatch: Environment
    ) -> None:
        monkeypatch.setattr(rules, "MAX_PAGES", 12)
        lister.answer = lambda query, number: (
            200,
            b"<ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>k%d</NextKeyMarker>"
            b"</ListVersionsResult>" % number,
        )
        with pytest.raises(ListingUnbounded, match="more than 12 pages"):
            bucket.stored("refs")

    def test_a_repeated_marker_in_the_listing_of_uploads(self, lister: Lister, bucket: Bucket) -> None:
        markers = b"<NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>u</NextUploadIdMarker>"
        body = b"<ListMultipartUploadsResult><IsTruncated>true</IsTruncated>%b</ListMultipartUploadsResult>" % markers
        lister.answer = lambda query, number: (200, body)
        with pytest.raises(ListingUnbounded, match="same continuation token"):
            bucket.multipart_uploads()
        assert len(lister.queries) == 2

    def test_time(self) -> None:
        progress = ListingProgress("list refs in s3://b", seconds=-1)
        with pytest.raises(ListingUnbounded, match="did not end within"):
            progress.page(["a"])


class TestFailures:
    """A listing goes on where a server failed."""

    def test_every_third_page_fails_once(self, lister: Lister, bucket: Bucket) -> None:
        def answer(query: dict[str, str], number: int) -> Answer:
            if number % 3 == 0:
                return 503, b"<Error><Code>SlowDown</Code></Error>"
            if token := query.get("continuation-token"):
                at = int(token)
            else:
                at = int(query["start-after"].split("/")[2]) + 1 if "start-after" in query else 0
            return 200, page(keys(at), str(at + 1) if at < 40 else "")

        lister.answer = answer
        assert [f"cas/{entry.key}" for entry in bucket.list("refs")] == [key for at in range(41) for key in keys(at)]

    @pytest.mark.parametrize(("pages", "each"), [(11, 1000), (33, 100), (20, 3)])
    def test_a_third_of_all_requests_fails(self, lister: Lister, bucket: Bucket, pages: int, each: int) -> None:
        """What is tried again is a page, however short; a listing tried as a whole would never succeed."""
        listed = [key for number in range(pages) for key in keys(number, each)]
        luck = random.Random(each)

        def answer(query: dict[str, str], number: int) -> Answer:
            if luck.random() < 1 / 3:
                return 503, b"<Error><Code>SlowDown</Code></Error>"
            start = bisect.bisect_right(listed, query["start-after"]) if "start-after" in query else 0
            start = int(query.get("continuation-token", start))
            end = start + each
            return 200, page(listed[start:end], str(end) if end < len(listed) else "")

        lister.answer = answer
        assert [f"cas/{entry.key}" for entry in bucket.list("refs")] == listed

    def test_tries_are_counted_for_each_page(self, lister: Lister) -> None:
        """Each page comes at the last of its tries; a page that never comes ends the listing after as many."""
        tries: dict[str, int] = {}

        def answer(query: dict[str, str], number: int) -> Answer:
            last = query.get("start-after", "")
            at = int(query["continuation-token"]) if "continuation-token" in query else 0
            at = int(last.split("/")[2]) + 1 if last and not at else at
            tries[str(at)] = tries.get(str(at), 0) + 1
            if tries[str(at)] < 4 or at == 3:
                return 503, b""
            return 200, page(keys(at), str(at + 1))

        lister.answer = answer
        with pytest.raises(Transient, match="gave up after 4 tries"):
            open_bucket("s3://b/cas", replace(HURRIED, attempts=4)).list("refs")
        assert tries == dict.fromkeys("0123", 4)

    def test_whoever_has_seen_enough_asks_for_no_further_page(self, lister: Lister, bucket: Bucket) -> None:
        lister.answer = lambda query, number: (200, page(keys(number), f"t{number}"))
        first = next(bucket.pages("refs"))
        assert ([f"cas/{entry.key}" for entry in first], len(lister.queries)) == (keys(1), 1)

    def test_a_foreign_key_in_the_middle_shows_no_object_twice(self, lister: Lister, bucket: Bucket) -> None:
        """boto3 goes on where obstore could not, also on a server that then begins anew."""
        pages = [keys(0), ["cas/refs/0001//x", *keys(1)], keys(2)]

        def answer(query: dict[str, str], number: int) -> Answer:
            at = int(query.get("continuation-token", "0"))
            return 200, page(pages[at], str(at + 1) if at < 2 else "")

        lister.answer = answer
        assert [f"cas/{entry.key}" for entry in bucket.list("refs")] == [*keys(0), *keys(1), *keys(2)]

    def test_a_server_that_cannot_go_on_behind_a_key_begins_anew(self, lister: Lister, bucket: Bucket) -> None:
        def answer(query: dict[str, str], number: int) -> Answer:
            if number == 3:
                return 503, b""
            at = int(query.get("continuation-token", "0"))
            return 200, page(keys(at), str(at + 1) if at < 5 else "")

        lister.answer = answer
        assert len(bucket.list("refs")) == 6000

    def test_folders_that_sort_component_by_component(self, lister: Lister, bucket: Bucket) -> None:
        pages = [[f"cas/refs/{model}/{index:04d}" for index in range(1000)] for model in ("f5", "f5-tts", "f5.1")]
        lister.answer = lambda query, number: (200, page(pages[number - 1], f"t{number}" if number < 3 else ""))
        assert len(bucket.list("refs")) == 3000


class TestForeignKeys:
    """A key that no program of ours can have written is left out, named once, and hides no other."""

    @pytest.mark.parametrize(
        "strange",
        [
            "cas/refs//x",
            "cas/refs/x//",
            "cas/refs/./x",
            "cas/refs/../../x",
            "cas/refs/a\x1b[2Jb",
            "cas/refs/a\x01",
            "cas/refs/a&#x1b;b",
            "cas/refs/a&#7;b",
            "cas/refs/a\nb",
            "cas/refs/a\x85b",
            "other/refs/x",
            "cas/chunks/x",
        ],
    )
    @pytest.mark.parametrize("first", [True, False])
    def test_the_rest_of_the_listing_is_used(
        self, lister: Lister, bucket: Bucket, caplog: pytest.LogCaptureFixture, strange: str, first: bool
    ) -> None:
        caplog.set_level(logging.INFO, "cas.bucket")
        good = ["cas/refs/a", "cas/refs/z", "cas/refs/ümläut 漢字 🎉"]
        listed = [strange, *good] if first else [*good, strange]
        lister.answer = lambda query, number: (200, page(listed, raw=True))
        for _ in range(2):
            assert [f"cas/{entry.key}" for entry in bucket.list("refs")] == good
        [record] = caplog.records
        assert record.message.startswith("skipped ")
        assert record.message.isprintable()

    def test_many_foreign_names_are_not_all_named(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "cas.bucket")
        names = ForeignNames("s3://b")
        for number in range(500):
            names.skip(f"x{number}", "no")
        assert len(caplog.records) == 101
        assert "skipped more" in caplog.records[-1].message

    @pytest.mark.parametrize("key", ["a", "a/b", "ä/漢 字", "a/..b", "a/b.", "a/\u202eb"])
    def test_what_others_may_name_so(self, key: str) -> None:
        assert flaw_of(key) == ""
