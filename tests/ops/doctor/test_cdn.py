"""What `cas doctor` finds of the cache that CAS_READ_URL names: a real one, and servers with odd habits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cas.store.store import Store
from tests.ops.doctor.conftest import Examination, Examine
from tests.support.models import publish_tree, write_tree
from tools.servers.habits import HabitServer
from tools.servers.nginx import Nginx

URL = "s3://bucket/cas"
FILES = {"config.json": b"{}", "model.bin": bytes(range(256)) * 1000}


def settings_of(found: Examination) -> dict[str, str]:
    return {one.name: one.found for one in found.diagnosis.findings if one.group == "settings"}


class TestRealCache:
    """nginx's proxy_cache in front of SeaweedFS."""

    def test_a_manifest_and_a_chunk_come_through_it(
        self, public_url: str, nginx_cache: Nginx, examined: Examine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        publish_tree(public_url, write_tree(tmp_path / "source", FILES))
        monkeypatch.setenv("CAS_READ_URL", f" {nginx_cache.url}/\n")
        found = examined(public_url)
        assert found.troubles == {}
        assert settings_of(found)["cdn"] == f"{nginx_cache.url} (CAS_READ_URL)"
        assert "a manifest and a chunk of 0.3 MB came through it" in found["cdn"].found
        asked = [request.path.split("/")[1] for request in nginx_cache.requests()]
        assert asked == ["manifests", "chunks"]

    def test_another_path_is_a_warning(
        self, public_url: str, nginx_cache: Nginx, examined: Examine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        publish_tree(public_url, write_tree(tmp_path / "source", FILES))
        monkeypatch.setenv("CAS_READ_URL", f"{nginx_cache.url}/wrong/path")
        found = examined(public_url)
        assert (found["cdn"].status, found.diagnosis.exit_code) == ("warning", 0)
        assert "CAS_READ_URL must name the store's root" in found["cdn"].advice

    @pytest.mark.parametrize("is_running", [True, False])
    def test_an_empty_store_shows_whether_it_answers(
        self,
        public_url: str,
        nginx_cache: Nginx,
        examined: Examine,
        monkeypatch: pytest.MonkeyPatch,
        is_running: bool,
    ) -> None:
        monkeypatch.setenv("CAS_READ_URL", nginx_cache.url if is_running else "http://127.0.0.1:9/cas")
        assert examined(public_url)["cdn"].status == ("skipped" if is_running else "warning")


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch, odd: HabitServer, tmp_path: Path) -> Iterator[HabitServer]:
    """A server that CAS_READ_URL names, before a bucket with a version; a test decides what it has and does."""
    publish_tree(URL, write_tree(tmp_path / "source", FILES))
    with HabitServer() as server:
        server.objects.update(odd.objects)
        monkeypatch.setenv("CAS_READ_URL", f"{server.url}/bucket/cas")
        yield server


class TestTrouble:
    """Restores read the bucket, so trouble is a warning that says what to do."""

    @pytest.mark.parametrize(
        ("refusal", "advice"),
        [
            ("404 NoSuchKey", "CAS_READ_URL must name the store's root"),
            ("403 AccessDenied", "origin must be able to read chunks/ and manifests/"),
            ("503 SlowDown", "check CAS_READ_URL"),
        ],
    )
    def test_refusals(self, broken: HabitServer, examined: Examine, refusal: str, advice: str) -> None:
        broken.habits.refusal = refusal
        found = examined(URL)["cdn"]
        assert found.status == "warning"
        assert found.found.endswith("restores read the bucket instead")
        assert advice in found.advice

    @pytest.mark.parametrize("folder", ["manifests", "chunks"])
    def test_other_bytes(self, broken: HabitServer, examined: Examine, folder: str) -> None:
        for key, stored in broken.objects.items():
            if f"/{folder}/" in key:
                broken.objects[key] = stored._replace(data=stored.data[:-1] + bytes([stored.data[-1] ^ 1]))
        found = examined(URL)["cdn"]
        assert (found.status, found.advice[:15]) == ("warning", "purge the cache")
        assert "gives other bytes than the bucket" in found.found

    def test_a_page_of_its_own(self, broken: HabitServer, examined: Examine) -> None:
        broken.habits.body = "page"
        found = examined(URL)["cdn"]
        assert found.status == "warning"
        assert "a web page came instead" in found.found

    def test_what_the_bucket_lacks_is_no_fault_of_the_cache(
        self, broken: HabitServer, odd: HabitServer, examined: Examine
    ) -> None:
        for server in (broken, odd):
            for key in [key for key in server.objects if "/chunks/" in key]:
                del server.objects[key]
        found = examined(URL)["cdn"]
        assert (found.status, found.code) == ("failed", 3)
        assert f"is not in {URL}" in found.found and "cas fsck" in found.advice

    def test_a_key_that_cannot_list_learns_whether_it_answers(
        self, broken: HabitServer, odd: HabitServer, examined: Examine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        odd.before = lambda seen: setattr(
            odd.habits, "refusal", "403 AccessDenied" if "list-type" in seen.query else ""
        )
        assert examined(URL)["cdn"].status == "skipped"
        monkeypatch.setenv("CAS_READ_URL", "http://127.0.0.1:9/cas")
        assert examined(URL)["cdn"].status == "warning"

    def test_what_is_no_address_fails_and_shows_no_secret(
        self, broken: HabitServer, examined: Examine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CAS_READ_URL", "https://user:secret@cdn.example.com/cas")
        found = examined(URL)
        assert (found["cdn"].group, found["cdn"].status, found.diagnosis.exit_code) == ("settings", "failed", 2)
        assert found["cdn"].found.startswith("CAS_READ_URL https://cdn.example.com")
        assert "secret" not in str(found.diagnosis)


def test_publishers_read_the_bucket(broken: HabitServer, examined: Examine) -> None:
    assert "cdn" not in examined(URL, "publisher").by_name
    assert broken.requests == []


def test_a_directory_is_read_itself(directory_store: Store, examined: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAS_READ_URL", "https://cdn.example.com/cas")
    assert (examined(directory_store.url)["cdn"].status) == "skipped"
