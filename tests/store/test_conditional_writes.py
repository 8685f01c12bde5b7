"""Whether a server honours conditional writes is tried once per store, and what remains there says so to everybody."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cas.bucket import Kind, open_bucket
from cas.errors import AccessDenied, FormatError
from cas.store.conditional_writes import are_honoured
from cas.store.layout import CONDITIONAL_WRITES
from cas.store.store import Store
from tests.support.buckets import HURRIED
from tools.servers.habits import Habits, HabitServer, Seen

URL = "s3://bucket/cas"
NO = b'{"honoured":false}'


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HabitServer]:
    """A running S3 look-alike, to which the variables of endpoint and key point."""
    with HabitServer() as server:
        for name, value in {"ENDPOINT_URL": server.url, "ACCESS_KEY_ID": "k", "SECRET_ACCESS_KEY": "s"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        yield server


def opened() -> Store:
    """The store, as a new process opens it."""
    return Store(open_bucket(URL, HURRIED))


def stored(server: HabitServer) -> bytes:
    return server.objects[f"cas/{CONDITIONAL_WRITES}"].data


@pytest.mark.parametrize("how", ["ignored", "400", "412", "501"])
def test_a_no_is_found_once_and_remembered(server: HabitServer, how: str) -> None:
    server.habits.conditional = how
    assert are_honoured(opened()) is False
    assert stored(server) == NO
    server.requests.clear()
    server.habits.conditional = "honoured"
    assert are_honoured(opened()) is False
    assert [seen.method for seen in server.requests] == ["GET"]


def test_a_yes_costs_three_requests_and_then_two(server: HabitServer) -> None:
    assert are_honoured(opened()) is True
    assert [seen.method for seen in server.requests] == ["GET", "PUT", "PUT"]
    server.requests.clear()
    assert are_honoured(opened()) is True
    assert [seen.method for seen in server.requests] == ["GET", "PUT"]
    assert stored(server) == b'{"honoured":true}'


def test_a_yes_that_turned_into_a_no_is_noticed(server: HabitServer) -> None:
    assert are_honoured(opened()) is True
    server.habits.conditional = "ignored"  # as on Ceph RGW, when versions are switched on
    assert are_honoured(opened()) is False
    assert stored(server) == NO


@pytest.mark.parametrize(("how", "right"), [("honoured", True), ("ignored", False)])
def test_whoever_probes_at_once_finds_the_same(server: HabitServer, how: str, right: bool) -> None:
    server.habits.conditional = how
    stores = [opened() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(are_honoured, stores)) == {right}


def test_a_conflict_with_another_probe_is_no_refusal(server: HabitServer) -> None:
    def conflict(seen: Seen) -> None:
        server.habits.refusal = "409 ConditionalRequestConflict" if len(server.requests) == 1 else ""
        server.habits.refused = "PUT"

    server.before = conflict
    assert are_honoured(opened()) is True


def test_who_probes_where_another_found_a_no_finds_it_too(server: HabitServer) -> None:
    server.habits.conditional = "412"  # of an object that is not there, too

    def another(seen: Seen) -> None:
        if seen.method == "PUT":
            server.before = lambda seen: None
            assert are_honoured(opened()) is False

    server.before = another
    assert are_honoured(opened()) is False


def test_a_key_without_the_permission_finds_nothing_out(server: HabitServer) -> None:
    server.habits = Habits(refusal="403 AccessDenied", refused="PUT")
    with pytest.raises(AccessDenied, match="PutObject"):
        are_honoured(opened())


def test_a_strange_document_is_named(server: HabitServer) -> None:
    opened().bucket.put(CONDITIONAL_WRITES, b"<html>", Kind.DOCUMENT)
    with pytest.raises(FormatError, match=r"conditional-writes\.json is malformed: delete it"):
        are_honoured(opened())


def test_a_directory_and_a_real_server_honour_them(store: Store) -> None:
    assert are_honoured(store) is True
    assert are_honoured(store) is True
