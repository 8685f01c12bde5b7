"""Chunks and manifests through a cache: what it is asked for, what it saves, and what happens when it fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import cas
from cas import events
from cas.errors import ChunkCorrupt, ChunkMissing, InputError
from cas.formats.manifest import ChunkRef
from cas.store.cdn import CdnStore, is_read_through, through_cdn
from cas.store.store import open_store
from tests.bucket.recording import Environment
from tests.support.buckets import RecordingBucket
from tests.support.faults import FILES
from tests.support.in_process import call_cas
from tests.support.models import check, publish_tree, write_tree
from tools.servers.habits import Habits, HabitServer
from tools.servers.nginx import Nginx


def _restore(url: str, hub: Path) -> tuple[cas.Restored, list[str]]:
    """Restore `m`, and return what was restored and the warnings."""
    heard: list[events.Event] = []
    restored = cas.restore("m", store=url, cache_dir=hub, on_event=heard.append)
    return restored, [event.text for event in heard if isinstance(event, events.Warned)]


def test_it_stands_for_the_store_of_the_variables_alone() -> None:
    assert is_read_through("s3://bucket/cas") and is_read_through("s3://bucket/team@site/cas")
    assert not is_read_through("s3://profile@bucket/cas") and not is_read_through("/srv/cas")


class TestRealCache:
    """nginx's proxy_cache in front of SeaweedFS."""

    def test_the_second_machine_s_chunks_are_cache_hits_and_nothing_else_is_cached(
        self, public_url: str, nginx_cache: Nginx, tmp_path: Path, monkeypatch: Environment
    ) -> None:
        publish_tree(public_url, write_tree(tmp_path / "source", FILES))
        monkeypatch.setenv("CAS_READ_URL", f" {nginx_cache.url}/\n")
        for machine in ("first", "second"):
            restored, warnings = _restore(public_url, tmp_path / machine)
            check(restored, FILES)
            assert warnings == []
        asked = nginx_cache.requests()
        paths = {request.path for request in asked}
        assert all(path.startswith(("/chunks/", "/manifests/m/")) for path in paths)
        assert len(asked) == 2 * len(paths)  # each object once for each machine
        half = len(asked) // 2
        assert {request.cached for request in asked[:half]} == {"MISS"}
        assert {request.cached for request in asked[half:]} == {"HIT"}
        assert {(request.method, request.status) for request in asked} == {("GET", 200)}

    def test_a_tag_that_moved_is_seen_at_once(
        self, public_url: str, nginx_cache: Nginx, tmp_path: Path, monkeypatch: Environment
    ) -> None:
        monkeypatch.setenv("CAS_READ_URL", nginx_cache.url)
        for content in (b"one", b"two"):
            publish_tree(public_url, write_tree(tmp_path / "source", {"model.bin": content * 1000}))
            restored, _ = _restore(public_url, tmp_path / "hub")
            check(restored, {"model.bin": content * 1000})

    def test_the_command_says_once_that_the_bucket_is_read_instead(
        self, public_url: str, nginx_cache: Nginx, tmp_path: Path, monkeypatch: Environment
    ) -> None:
        publish_tree(public_url, write_tree(tmp_path / "source", FILES))
        monkeypatch.setenv("CAS_READ_URL", f"{nginx_cache.url}/wrong/path")
        ran = call_cas("--store", public_url, "restore", "m", "--cache-dir", str(tmp_path / "hub"))
        assert ran.returncode == 0
        assert ran.stderr.count("CAS_READ_URL") == 1
        assert f"what it does not give is read from {public_url}" in ran.stderr


@pytest.fixture
def served(monkeypatch: Environment) -> Iterator[HabitServer]:
    """A bucket, to which the client is pointed, and which the tests also take for a cache of itself."""
    with HabitServer(Habits()) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        yield server


@pytest.fixture
def broken(monkeypatch: Environment) -> Iterator[HabitServer]:
    """A server that CAS_READ_URL names; a test decides what it has and does."""
    with HabitServer(Habits()) as server:
        monkeypatch.setenv("CAS_READ_URL", f"{server.url}/bucket/cas")
        yield server


class TestFailures:
    """The bucket stands in, and digests decide."""

    URL = "s3://bucket/cas"

    @pytest.fixture(autouse=True)
    def version(self, served: HabitServer, tmp_path: Path) -> None:
        publish_tree(self.URL, write_tree(tmp_path / "source", FILES))
        served.requests.clear()

    @pytest.mark.parametrize("refusal", ["404 NoSuchKey", "403 AccessDenied", "503 SlowDown", "401 Unauthorized"])
    def test_the_bucket_stands_in_for_a_cache_that_refuses(
        self, served: HabitServer, broken: HabitServer, tmp_path: Path, refusal: str
    ) -> None:
        broken.habits.refusal = refusal
        restored, warnings = _restore(self.URL, tmp_path / "hub")
        check(restored, FILES)
        assert len(warnings) == 1
        assert warnings[0].startswith("CAS_READ_URL: ") and "manifests/m/" in warnings[0]
        assert served.count("GET", "cas/chunks/") > 0 and served.count("GET", "cas/manifests/") == 1

    @pytest.mark.parametrize("body", ["page", "damaged", "short", "long"])
    def test_what_comes_damaged_is_fetched_from_the_bucket(
        self, served: HabitServer, broken: HabitServer, tmp_path: Path, body: str
    ) -> None:
        for key, stored in served.objects.items():
            data = stored.data
            changed = {"damaged": data[:-1] + bytes([data[-1] ^ 1]), "short": data[:-1], "long": data + b"more"}
            broken.objects[key] = stored if body == "page" else type(stored)(changed[body], stored.written)
        broken.habits.body = "page" if body == "page" else "length"
        restored, warnings = _restore(self.URL, tmp_path / "hub")
        check(restored, FILES)
        assert len(warnings) == 1

    def test_pages_of_the_cache_s_own_slow_no_read_of_the_bucket_down(
        self, served: HabitServer, broken: HabitServer, tmp_path: Path
    ) -> None:
        broken.objects.update({key: stored for key, stored in served.objects.items() if "/manifests/" in key})
        page = b"<!doctype html><h1>Sign in</h1>"
        for key in [key for key in served.objects if "/chunks/" in key]:
            broken.objects[key] = served.objects[key]._replace(data=page)
        restored, _ = _restore(self.URL, tmp_path / "hub")
        check(restored, FILES)
        chunks = [seen for seen in served.requests if seen.method == "GET" and "/chunks/" in seen.key]
        assert chunks and all("X-Amz-Signature" in seen.query for seen in chunks), "straight into memory"

    def test_a_cache_that_cannot_be_reached(self, tmp_path: Path, monkeypatch: Environment) -> None:
        monkeypatch.setenv("CAS_READ_URL", "http://127.0.0.1:9/cas")
        restored, warnings = _restore(self.URL, tmp_path / "hub")
        check(restored, FILES)
        assert len(warnings) == 1 and "no connection could be made" in warnings[0]

    def test_damage_in_the_bucket_is_reported_as_before(
        self, served: HabitServer, broken: HabitServer, tmp_path: Path
    ) -> None:
        for key in [key for key in served.objects if "/chunks/" in key]:
            served.objects[key] = type(served.objects[key])(b"junk", 0.0)
        broken.objects.update(served.objects)
        with pytest.raises(ChunkCorrupt, match="s3://bucket/cas"):
            _restore(self.URL, tmp_path / "hub")

    def test_one_chunk_that_the_cache_lacks_does_not_end_its_use(
        self, served: HabitServer, broken: HabitServer, tmp_path: Path
    ) -> None:
        chunks = sorted(key for key in served.objects if "/chunks/" in key)
        broken.objects.update({key: stored for key, stored in served.objects.items() if key != chunks[0]})
        restored, warnings = _restore(self.URL, tmp_path / "hub")
        check(restored, FILES)
        assert len(warnings) == 1
        assert served.count("GET", "cas/chunks/") == 1


class TestWhichStores:
    """Where CAS_READ_URL counts."""

    def test_a_directory_and_a_web_server_are_read_themselves(self, tmp_path: Path) -> None:
        for url in (str(tmp_path), "https://host.example.com/cas", "memory:"):
            store = open_store(url)
            assert through_cdn(store, "https://cdn.example.com", events.ignore) is store

    @pytest.mark.parametrize("url", ["cdn.example.com/cas", "s3://bucket/cas", "/folder", "https://user:secret@host"])
    def test_what_is_no_https_url_is_refused(self, s3_url: str, url: str) -> None:
        with pytest.raises(InputError) as error:
            through_cdn(open_store(s3_url), url, events.ignore)
        assert "secret" not in str(error.value)
        if "host" not in url:
            assert "CAS_READ_URL: write https://" in str(error.value)

    def test_refs_and_what_is_stored_are_the_bucket_s(self, s3_url: str) -> None:
        store, cache = open_store(s3_url), RecordingBucket(open_store("memory:").bucket)
        store.create()
        seen = CdnStore(store.bucket, cache, events.ignore)
        seen.check_format()
        assert not seen.has_chunk("0" * 64)
        assert cache.read == [] and seen.bucket is store.bucket
        assert through_cdn(seen, "https://cdn.example.com", events.ignore) is seen

    def test_the_cache_is_left_alone_after_three_failures_in_a_row(self, s3_url: str) -> None:
        heard: list[events.Event] = []
        cache = RecordingBucket(open_store("memory:").bucket)
        seen = CdnStore(open_store(s3_url).bucket, cache, heard.append)
        for number in range(5):
            with pytest.raises(ChunkMissing):
                seen.get_frame(ChunkRef(f"{number:064x}", 1))
        assert len(cache.read) == 3 and len(heard) == 1

    def test_publishers_and_checkers_read_the_bucket(
        self, served: HabitServer, broken: HabitServer, tmp_path: Path
    ) -> None:
        url = "s3://bucket/cas"
        publish_tree(url, write_tree(tmp_path / "source", FILES))
        publish_tree(url, write_tree(tmp_path / "source", {"more.bin": b"more"}))
        for command in ("fsck", "gc"):
            assert call_cas("--store", url, command).returncode == 0
        assert broken.requests == []
