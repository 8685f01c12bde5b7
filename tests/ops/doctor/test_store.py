"""What the examination of a store finds: on a directory, real S3, and servers with odd habits."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from cas.bucket import Kind, open_bucket
from cas.store import layout
from cas.store.store import Store
from tests.ops.doctor.conftest import Examine
from tests.support.buckets import slow_store
from tests.support.models import publish_tree, write_tree
from tools.servers.habits import HabitServer, Seen
from tools.servers.seaweed import SeaweedFS

URL = "s3://bucket/cas"


def a_store(url: str) -> Store:
    store = Store(open_bucket(url))
    store.create()
    return store


def act_as(seaweed: SeaweedFS, identity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    access, secret = seaweed.credentials(identity)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", access)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)


def test_a_sound_store_has_no_trouble_and_keeps_nothing(store: Store, examined: Examine) -> None:
    store.create()
    found = examined(store.url)
    assert found.troubles == {}
    assert found.diagnosis.exit_code == 0
    assert found.diagnosis.roles == ["reader", "publisher", "collector"]
    assert [entry.key for entry in store.bucket.list("")] == [layout.FORMAT_KEY]


def test_real_s3_is_examined_to_the_end(s3_url: str, examined: Examine) -> None:
    a_store(s3_url)
    found = examined(s3_url)
    for name in ("connect", "clock", "read", "list", "write", "checksums", "range", "consistency", "conditional"):
        assert found[name].status == "ok", found[name]
    for name in ("delete", "pages", "rate", "versions", "uploads"):
        assert found[name].status == "ok", found[name]
    assert "SeaweedFS" in found["connect"].found
    assert "on 3 pages" in found["pages"].found
    assert found.diagnosis.endpoint.startswith("http://127.0.0.1:")


def test_a_directory_is_left_as_it_was(tmp_path: Path, examined: Examine) -> None:
    store = a_store(str(tmp_path / "store"))
    examined(store.url)
    assert [path.name for path in Path(store.url).rglob("*")] == [layout.FORMAT_KEY]


def test_a_directory_that_does_not_exist_is_not_made(tmp_path: Path, examined: Examine) -> None:
    found = examined(str(tmp_path / "store"))
    assert (found["format"].status, found["write"].status) == ("warning", "skipped")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("identity", "role", "troubles"),
    [
        ("reader", "reader", {}),
        ("reader", "publisher", {"write": "failed"}),
        ("publisher", "reader", {"write": "warning", "delete": "warning"}),
        ("publisher", "publisher", {"delete": "warning"}),
        ("admin", "collector", {}),
    ],
)
def test_a_role_says_what_a_key_lacks_and_has_too_much(
    seaweed: SeaweedFS,
    s3_url: str,
    monkeypatch: pytest.MonkeyPatch,
    examined: Examine,
    identity: str,
    role: str,
    troubles: dict[str, str],
) -> None:
    store = a_store(s3_url)
    act_as(seaweed, identity, monkeypatch)
    found = examined(s3_url, role)
    of_rights = {name: status for name, status in found.troubles.items() if name in ("read", "list", "write", "delete")}
    assert of_rights == troubles
    assert found.diagnosis.exit_code == (6 if "failed" in troubles.values() else 0)
    assert [entry.key for entry in store.bucket.list("")] == [layout.FORMAT_KEY]


def test_a_reader_without_a_store_is_told_that_there_is_none(s3_url: str, examined: Examine) -> None:
    found = examined(s3_url, "reader")
    assert (found["format"].status, found["format"].code) == ("failed", 3)
    assert found.diagnosis.exit_code == 3


def test_the_rate_of_a_reader_is_that_of_a_stored_chunk(odd: HabitServer, tmp_path: Path, examined: Examine) -> None:
    publish_tree(a_store(URL), write_tree(tmp_path / "source", {"model.bin": bytes(range(256)) * 4000}))
    odd.habits.refusal, odd.habits.refused = "403 AccessDenied", "PUT"
    found = examined(URL, "reader")
    assert found["rate"].status == "ok"
    assert "written" not in found["rate"].found
    assert not odd.count("PUT", "doctor") - 1  # the one write that was refused


@pytest.mark.parametrize("habit", ["ignored", "501", "400", "412"])
def test_conditions_that_count_for_nothing_are_a_warning(odd: HabitServer, examined: Examine, habit: str) -> None:
    a_store(URL)
    odd.habits.conditional = habit
    found = examined(URL)
    assert found["conditional"].status == "warning"
    assert "--expect" in found["conditional"].advice


@pytest.mark.parametrize(
    ("minutes", "finding", "status"),
    [(0, "clock", "ok"), (5, "clock", "warning"), (-5, "clock", "warning"), (20, "clock", "failed")],
)
def test_clocks_are_compared(odd: HabitServer, examined: Examine, minutes: int, finding: str, status: str) -> None:
    odd.habits.clock = 60.0 * minutes
    found = examined(URL)
    assert found.status(finding) == status
    if minutes:
        assert f"{abs(minutes)} minutes {'behind' if minutes > 0 else 'ahead of'} the server" in found["clock"].found
        assert "set the clock" in found["clock"].advice


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"])
def test_a_wrong_key_ends_the_checks_of_the_store(odd: HabitServer, examined: Examine, code: str) -> None:
    odd.habits.refusal = f"403 {code}"
    found = examined(URL)
    assert found["key"].status == "failed"
    assert code in found["key"].found
    assert "write" not in found.by_name
    assert found["cache"].status == "ok"
    assert found.diagnosis.exit_code == 6


def test_a_dead_endpoint_ends_the_checks_of_the_store(
    odd: HabitServer, monkeypatch: pytest.MonkeyPatch, examined: Examine
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    found = examined(URL)
    assert (found["connect"].status, found.diagnosis.exit_code) == ("failed", 6)
    assert "127.0.0.1:9" in found["connect"].found
    assert [name for name in found.by_name if name in ("read", "write", "clock")] == []


def test_a_missing_bucket_is_told(s3_url: str, examined: Examine) -> None:
    found = examined("s3://no-such-bucket-here/cas")
    assert found["bucket"].status == "failed"


def test_settings_that_name_no_store_are_a_finding(examined: Examine) -> None:
    found = examined("ftp://host/path")
    assert (found["store"].status, found["store"].code) == ("failed", 2)
    assert (found["cache"].status, found.diagnosis.exit_code) == ("ok", 2)


def test_a_page_that_is_lost_is_told(odd: HabitServer, examined: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    a_store(URL)
    original = odd.answer

    def without_the_second_page(seen, body):  # type: ignore[no-untyped-def]
        said = original(seen, body)
        if "continuation-token" in seen.query:
            return dataclasses.replace(said, body=said.body.replace(b"page-2", b"page-1"))
        return said

    monkeypatch.setattr(odd, "answer", without_the_second_page)
    found = examined(URL)
    assert found["pages"].status == "failed"


def test_bytes_that_change_on_the_way_are_damage(odd: HabitServer, examined: Examine) -> None:
    a_store(URL)

    def change(seen) -> None:  # type: ignore[no-untyped-def]
        if seen.method == "GET" and seen.key.endswith("/small") and (kept := odd.objects.get(seen.key)):
            odd.objects[seen.key] = kept._replace(data=bytes(256))

    odd.before = change
    found = examined(URL)
    assert (found["checksums"].status, found.diagnosis.exit_code) == ("failed", 4)


def test_https_is_read_only(directory_store: Store, examined: Examine) -> None:
    directory_store.create()
    with slow_store(directory_store, 0) as server:
        found = examined(server.url)
        assert (found["connect"].status, found["list"].status, found["write"].status) == ("ok", "skipped", "skipped")
        found = examined(server.url, "publisher")
    assert (found["write"].status, found.diagnosis.exit_code) == ("failed", 2)


def test_a_web_server_without_a_store_proves_no_right(directory_store: Store, examined: Examine) -> None:
    with slow_store(directory_store, 0) as server:
        found = examined(server.url)
    assert (found["read"].status, found["format"].status, found.diagnosis.exit_code) == ("skipped", "failed", 3)
    assert "check the URL" in found["format"].found and "cas init" not in found["format"].found
    assert found.diagnosis.roles == []


def test_a_server_that_cannot_go_on_behind_a_page_says_what_that_costs(
    odd: HabitServer, examined: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_store(URL)

    def refuse(seen: Seen) -> None:
        odd.habits.refusal = "500 InternalError" if "continuation-token" in seen.query else ""

    odd.before = refuse
    found = examined(URL)
    assert (found["pages"].status, found.diagnosis.exit_code) == ("failed", 6)
    assert "publishes and collections" in found["pages"].advice


def test_a_store_of_a_newer_format_is_told(odd: HabitServer, examined: Examine) -> None:
    open_bucket(URL).put(layout.FORMAT_KEY, b'{"format":"cas","version":2}', Kind.DOCUMENT)
    found = examined(URL)
    assert (found["format"].status, found.diagnosis.exit_code) == ("failed", 5)
