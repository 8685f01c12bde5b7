"""Answers of web servers: bodies without a length, web pages, and private stores."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from cas.bucket import Bucket, open_bucket
from cas.errors import AccessDenied, InputError, StoreError
from cas.store.store import open_store
from tests.bucket.recording import Environment
from tests.bucket.redirecting import redirecting
from tests.support.buckets import HURRIED
from tests.support.faults import FILES
from tests.support.in_process import call_cas
from tests.support.models import publish_tree, write_tree
from tools.servers.habits import HabitServer, Seen
from tools.servers.s3_answers import StoredObject

DATA = bytes(range(256)) * 1000


@pytest.fixture
def web(habits: HabitServer) -> Bucket:
    """A bucket of a web server that holds `key`."""
    habits.objects["key"] = StoredObject(DATA, 1.0)
    return open_bucket(f"{habits.url}/store", HURRIED)


@pytest.mark.parametrize("body", ["length", "chunked", "closed"])
def test_any_valid_body_is_read(habits: HabitServer, web: Bucket, body: str) -> None:
    habits.habits.body = body
    into = bytearray(len(DATA) + 1)
    for _ in range(2):
        assert bytes(web.get("key", len(DATA))) == DATA
        assert web.get_into("key", memoryview(into)) == len(DATA)
        assert into[:-1] == DATA


@pytest.mark.parametrize("body", ["chunked", "closed"])
def test_a_body_that_is_too_long_is_not_cut(habits: HabitServer, web: Bucket, body: str) -> None:
    habits.habits.body = body
    for read in (lambda: web.get("key", 100), lambda: web.get_into("key", memoryview(bytearray(100)))):
        with pytest.raises(StoreError, match="the answer cannot be used"):
            read()


def test_a_page_is_no_object(habits: HabitServer, web: Bucket) -> None:
    habits.habits.body = "page"
    for read in (lambda: web.get("key", 1000), lambda: web.get_into("key", memoryview(bytearray(1000)))):
        with pytest.raises(StoreError, match="a web page came instead of the object: check the URL"):
            read()


def test_a_page_is_no_altered_manifest(habits: HabitServer, tmp_path: Path) -> None:
    store = open_store("s3://bucket/cas", policy=HURRIED)
    publish_tree(store, write_tree(tmp_path / "source", FILES))
    (digest,) = store.digests("m")
    url = f"{habits.url}/bucket/cas"
    restore = ("--store", url, "restore", f"m@blake3:{digest}", "--cache-dir")
    habits.habits.body = "chunked"
    done = call_cas(*restore, str(tmp_path / "hub"))
    assert done.returncode == 0, done.stderr
    habits.habits.body = "page"
    done = call_cas(*restore, str(tmp_path / "hub-2"))
    assert done.returncode == 6
    assert "a web page came instead of the object" in done.stderr
    assert "altered" not in done.stderr


class TestPrivate:
    """A server that wants `Authorization: Bearer the-token`, or the user and password of a netrc file."""

    BASIC = "Basic " + base64.b64encode(b"me:the-password").decode()

    @pytest.fixture(autouse=True)
    def private(self, habits: HabitServer, web: Bucket) -> None:
        def look(seen: Seen) -> None:
            allowed = seen.headers.get("authorization") in ("Bearer the-token", self.BASIC)
            habits.habits.refusal = "" if allowed else "401 x"

        habits.before = look

    def opened(self, habits: HabitServer) -> Bucket:
        return open_bucket(f"{habits.url}/store", HURRIED)

    def assert_open(self, habits: HabitServer) -> None:
        bucket = self.opened(habits)
        assert bytes(bucket.get("key", len(DATA))) == DATA
        assert bucket.get_into("key", memoryview(bytearray(len(DATA)))) == len(DATA)

    def test_without_a_key_it_says_what_to_set(self, habits: HabitServer) -> None:
        for read in (
            lambda: self.opened(habits).get("key", len(DATA)),
            lambda: self.opened(habits).get_into("key", memoryview(bytearray(9))),
        ):
            with pytest.raises(AccessDenied, match=r"set CAS_HTTP_HEADER .* or an entry for 127\.0\.0\.1 in ~/\.netrc"):
                read()

    def test_a_header(self, habits: HabitServer, monkeypatch: Environment) -> None:
        monkeypatch.setenv("CAS_HTTP_HEADER", " Authorization: Bearer the-token\n")
        self.assert_open(habits)

    @pytest.mark.parametrize("variable", [False, True])
    def test_an_entry_of_netrc(
        self, habits: HabitServer, monkeypatch: Environment, tmp_path: Path, variable: bool
    ) -> None:
        path = tmp_path / "home" / (".other" if variable else ".netrc")
        path.parent.mkdir(exist_ok=True)
        path.write_text("machine 127.0.0.1 login me password the-password\ndefault login x password y\n")
        path.chmod(0o600)
        if variable:
            monkeypatch.setenv("NETRC", str(path))
        self.assert_open(habits)

    @pytest.mark.parametrize("path", ["/" + "a" * 5000, "/\udcff", "relative", "/dev/null/x", "/dev/zero"])
    def test_a_netrc_file_that_cannot_be_one_counts_as_none(
        self, habits: HabitServer, monkeypatch: Environment, path: str
    ) -> None:
        monkeypatch.setenv("NETRC", path)
        with pytest.raises(AccessDenied, match="the store is private"):
            self.opened(habits).get("key", 9)

    def test_a_wrong_header_is_blamed_and_not_shown(self, habits: HabitServer, monkeypatch: Environment) -> None:
        monkeypatch.setenv("CAS_HTTP_HEADER", "Authorization: Bearer wrong-secret")
        with pytest.raises(AccessDenied, match="CAS_HTTP_HEADER does not open it") as error:
            self.opened(habits).get("key", 9)
        assert "wrong-secret" not in str(error.value)

    @pytest.mark.parametrize("given", ["the-token", "Authorization:", ": x", "A: b\nC: d"])
    def test_what_is_no_header(self, habits: HabitServer, monkeypatch: Environment, given: str) -> None:
        monkeypatch.setenv("CAS_HTTP_HEADER", given)
        with pytest.raises(InputError, match="CAS_HTTP_HEADER holds no header"):
            self.opened(habits)

    def test_a_header_goes_to_no_other_host(self, monkeypatch: Environment) -> None:
        monkeypatch.setenv("CAS_HTTP_HEADER", "X-Token: the-token")
        with redirecting() as store, redirecting() as target:
            store.location = target.at("localhost")
            with pytest.raises(StoreError, match="redirects elsewhere"):
                open_bucket(store.at("127.0.0.1"), HURRIED).get("key", 100)
            assert target.requests == []
            assert store.requests[0][1]["x-token"] == "the-token"
