"""Of several who expect the same move one succeeds, on a server that replaces what it must not replace, too."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cas.bucket import open_bucket
from cas.errors import RefMoved, StoreError
from cas.refs import claim
from cas.refs.move import expected_move, move
from cas.refs.reflog import Ref, RefLog
from cas.store.store import Store, open_store
from tests.support.buckets import HURRIED
from tests.support.models import publish_tree, write_tree
from tools.servers.habits import HabitServer, Seen

URL = "s3://bucket/cas"
TAG = Ref("tags", "m", "prod")


@pytest.fixture(params=["honoured", "ignored", "400", "412", "501"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[HabitServer]:
    """A running S3 look-alike of each habit, to which the variables of endpoint and key point."""
    with HabitServer() as server:
        for name, value in {"ENDPOINT_URL": server.url, "ACCESS_KEY_ID": "k", "SECRET_ACCESS_KEY": "s"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        server.habits.conditional = request.param
        yield server


@pytest.fixture
def digests(server: HabitServer, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Versions in the store, one for each racer."""
    store = open_store(URL, policy=HURRIED)
    for number in range(6):
        publish_tree(store, write_tree(tmp_path_factory.mktemp("model"), {"config.json": str(number).encode()}))
    return store.digests("m")


def race(digests: list[str]) -> list[str]:
    """Let each racer move the tag, which must not be set yet, to its version; return those told that they did."""
    stores = [Store(open_bucket(URL, HURRIED)) for _ in digests]
    expected = [expected_move(store, TAG, "none") for store in stores]

    def run(number: int) -> str:
        try:
            move(stores[number], {TAG: expected[number]}, digests[number], "race")
        except RefMoved:
            return ""
        return digests[number]

    with ThreadPoolExecutor(len(digests)) as pool:
        return [digest for digest in pool.map(run, range(len(digests))) if digest]


def test_one_of_several_wins(server: HabitServer, digests: list[str]) -> None:
    assert len(digests) == 6
    winners = race(digests)
    assert len(winners) == 1
    assert RefLog(open_store(URL, policy=HURRIED), TAG).current_digest() == winners[0]


@pytest.mark.parametrize("server", ["ignored"], indirect=True)
class TestWhereNothingIsRefused:
    def test_a_move_looks_again_once_it_is_alone(self, server: HabitServer, digests: list[str]) -> None:
        store = open_store(URL, policy=HURRIED)
        last = expected_move(store, TAG, "none")
        others: list[str] = []

        def overtake(seen: Seen) -> None:
            if (
                "/probes/" in f"/{seen.key}" and seen.method == "PUT" and len(others) < 1
            ):  # the ref was looked at before
                others.append("at work")
                server.before = lambda seen: None
                move(open_store(URL, policy=HURRIED), {TAG: expected_move(store, TAG, "none")}, digests[0], "first")

        server.before = overtake
        with pytest.raises(RefMoved):
            move(store, {TAG: last}, digests[1], "second")
        assert RefLog(store, TAG).current_digest() == digests[0]

    def test_somebody_who_stopped_is_waited_for(
        self, server: HabitServer, digests: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, waited = open_store(URL, policy=HURRIED), list[float]()
        key = RefLog(store, TAG)._key("00000001-" + "0" * 16 + ".json")

        def sleep(seconds: float) -> None:
            waited.append(seconds)
            server.habits.clock += 30  # the server's clock goes on

        monkeypatch.setattr(claim, "_sleep", sleep)
        with claim.claim(store, key, lambda: None):
            abandoned = {name: data for name, data in server.objects.items() if "/leases/" in name}
        server.objects |= abandoned
        for name in [name for name in server.objects if "/leases/" in name and name not in abandoned]:
            del server.objects[name]
        with claim.claim(store, key, lambda: None):
            assert waited

    def test_it_does_not_wait_for_ever(
        self, server: HabitServer, digests: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(claim, "_GIVE_UP", -1.0)
        with (
            pytest.raises(StoreError, match="others were moving it"),
            claim.claim(open_store(URL, policy=HURRIED), "refs/x", lambda: None),
        ):
            pass
