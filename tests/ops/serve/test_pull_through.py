"""What the store lacks comes from the upstream hub: once, verified, published, and to nobody who may not see it."""

from __future__ import annotations

import contextlib
import http.client
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from huggingface_hub import snapshot_download

import cas
from cas import events
from cas.api.serving import publisher_for
from cas.errors import AccessDenied
from cas.ops.serve.server import HubServer, Serving
from cas.store.store import Store
from tests.ops.serve.conftest import Answer, Served
from tests.ops.serve.upstream_hub import GuardedHub
from tests.support.models import KIB, REPO, noise, publish_tree, read_tree, snapshot, write_tree
from tests.support.processes import until

FILES = {"config.json": b'{"a": 1}', "empty.txt": b"", "sub/weights.bin": noise(3000 * KIB, 2), "vocab.txt": b"a\nb\n"}
WEIGHTS = f"/{REPO}/resolve/main/sub/weights.bin"
INFO = f"/api/models/{REPO}/revision/main?blobs=true"
CONFIG = f"/{REPO}/resolve/main/config.json"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[GuardedHub]:
    write_tree(tmp_path / "hub" / REPO, FILES)
    with GuardedHub(tmp_path / "hub") as hub:
        yield hub


class Pulling(Served):
    """A server with an upstream hub, and how it is restarted."""

    def published(self) -> int:
        """How many publishes there were."""
        return sum(isinstance(event, events.Ended) and "published" in event.text for event in self.reported)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a moment instead of seconds before a file is asked for again."""
    monkeypatch.setattr("cas.ops.serve.pulls._FIRST_PAUSE", 0.01)


@contextlib.contextmanager
def serving(store: Store, folder: Path, upstream: str | None, **options: object) -> Iterator[Pulling]:
    reported: list[events.Event] = []
    sized = {"cache_size": 100 << 20, **options}
    given = Serving(cache=folder, port=0, upstream=upstream, settle=0.0, **sized)  # type: ignore[arg-type]
    with HubServer(store, given, publisher_for(store), reported.append) as server:
        yield Pulling(store, server, reported)


@pytest.fixture
def pulling(directory_store: Store, cache: Path, hub: GuardedHub) -> Iterator[Pulling]:
    with serving(directory_store, cache, hub.url) as server:
        yield server


def fetch_all(served: Served, token: str = "") -> list[Answer]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return [served.ask(f"/{REPO}/resolve/main/{name}", headers=headers) for name in FILES]


def test_many_callers_at_once_are_one_download_and_then_the_store_has_it(
    pulling: Pulling, hub: GuardedHub, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: pulling.ask(WEIGHTS), range(8)))
    assert {(answer.status, answer.body) for answer in answers} == {(200, FILES["sub/weights.bin"])}
    assert hub.downloads("weights.bin") == 1
    commit = pulling.ask(WEIGHTS, "HEAD").headers["x-repo-commit"]
    assert pulling.ask(WEIGHTS.replace("main", commit), "HEAD").status == 200
    assert [path for _, path in hub.requests if path.startswith("/api/")] == [INFO]
    assert [answer.body for answer in fetch_all(pulling)] == list(FILES.values())
    until(lambda: pulling.published() and hub_files(pulling) == FILES.keys())
    hub.down = True
    asked = len(hub.requests)
    with serving(pulling.store, tmp_path / "other", None) as other:
        assert [answer.body for answer in fetch_all(other)] == list(FILES.values())
    assert len(hub.requests) == asked
    restored = cas.restore("org--model:upstream", pulling.store, cache_dir=tmp_path / "hf")
    assert read_tree(snapshot(restored)) == FILES
    assert list((tmp_path / "cache").rglob("blobs/*")) == []


def hub_files(served: Served) -> set[str]:
    """The files that the store has of the repo."""
    repo = served.server._catalog.find("model", REPO).repo
    return {file.path for file in repo.files}


def test_a_version_grows_by_what_is_asked_for_and_tells_of_the_rest(
    directory_store: Store, hub: GuardedHub, tmp_path: Path
) -> None:
    with serving(directory_store, tmp_path / "1", hub.url) as first:
        assert first.ask(CONFIG).body == FILES["config.json"]
        whole = first.ask(f"/api/models/{REPO}/tree/main?recursive=true").document
    # The end of a server publishes what it has.
    hub.down = True
    with serving(directory_store, tmp_path / "2", hub.url) as second:
        assert hub_files(second) == {"config.json", "empty.txt"}
        assert second.ask(f"/api/models/{REPO}/tree/main?recursive=true").document == whole
        assert second.ask(CONFIG).body == FILES["config.json"]
        assert second.ask(WEIGHTS, "HEAD").headers["content-length"] == str(len(FILES["sub/weights.bin"]))
        away = second.ask(WEIGHTS)
        assert (away.status, away.headers["retry-after"]) == (503, "5")
        absent = second.ask(f"/{REPO}/resolve/main/absent")
        assert (absent.status, absent.headers["x-error-code"]) == (404, "EntryNotFound")
        hub.down = False
        assert second.ask(WEIGHTS).body == FILES["sub/weights.bin"]
    assert hub.downloads("config.json") == 1
    with serving(directory_store, tmp_path / "3", None) as third:
        assert hub_files(third) == {"config.json", "empty.txt", "sub/weights.bin"}
        assert third.ask(WEIGHTS).body == FILES["sub/weights.bin"]
        assert third.ask(f"/{REPO}/resolve/main/vocab.txt").status == 503


def test_what_the_hub_or_the_way_damaged_is_never_a_whole_file(pulling: Pulling, hub: GuardedHub) -> None:
    hub.corrupt.add("sub/weights.bin")
    with pytest.raises(http.client.IncompleteRead):
        pulling.ask(WEIGHTS)
    size = len(FILES["sub/weights.bin"])
    with pytest.raises(http.client.IncompleteRead):
        pulling.ask(WEIGHTS, headers={"Range": f"bytes={size - 10}-"})
    assert any("other content than its etag says" in text for text in pulling.warnings())
    hub.corrupt.clear()
    assert pulling.ask(WEIGHTS).body == FILES["sub/weights.bin"]


def test_what_an_earlier_server_left_is_hashed_before_it_is_believed(
    directory_store: Store, cache: Path, hub: GuardedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(pulled: object) -> str:
        raise AccessDenied("a reader's key")

    monkeypatch.setattr("tests.ops.serve.test_pull_through.publisher_for", lambda store: refused)
    with serving(directory_store, cache, hub.url) as first:
        assert fetch_all(first)[2].body == FILES["sub/weights.bin"]
        until(lambda: any("a reader's key" in text for text in first.warnings()))
        assert fetch_all(first)[2].body == FILES["sub/weights.bin"]
    assert (hub.downloads("weights.bin"), hub.downloads("config.json")) == (1, 1)
    (blob,) = (path for path in cache.rglob("blobs/*") if path.stat().st_size == len(FILES["sub/weights.bin"]))
    with blob.open("r+b") as file:
        file.write(b"wrong")
    with serving(directory_store, cache, hub.url) as second:
        assert [answer.body for answer in fetch_all(second)] == list(FILES.values())
    assert (hub.downloads("weights.bin"), hub.downloads("config.json")) == (2, 1)


def test_what_cannot_be_published_makes_way_for_more(
    directory_store: Store, cache: Path, hub: GuardedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(pulled: object) -> str:
        raise AccessDenied("a reader's key")

    monkeypatch.setattr("tests.ops.serve.test_pull_through.publisher_for", lambda store: refused)
    with serving(directory_store, cache, hub.url, cache_size=1 << 20) as server:
        assert server.ask(WEIGHTS).body == FILES["sub/weights.bin"]
        until(lambda: not any(blob.stat().st_size for blob in cache.rglob("blobs/*")))
        assert server.ask(WEIGHTS).body == FILES["sub/weights.bin"]
    assert hub.downloads("weights.bin") == 2


def test_a_real_client_downloads_through(pulling: Pulling, tmp_path: Path) -> None:
    folder = snapshot_download(REPO, endpoint=pulling.server.endpoint, cache_dir=tmp_path / "hf")
    assert read_tree(Path(folder)) == FILES
    assert snapshot_download(REPO, cache_dir=tmp_path / "hf", local_files_only=True) == folder


def test_a_download_that_breaks_off_goes_on(directory_store: Store, cache: Path, hub: GuardedHub) -> None:
    hub.cut_bodies = True
    with serving(directory_store, cache, hub.url) as pulling:
        assert pulling.ask(WEIGHTS).body == FILES["sub/weights.bin"]
    assert hub.downloads("weights.bin") == 2


@pytest.mark.parametrize("kind", ["private", "gated"])
def test_a_repo_that_some_may_read_is_served_to_these_alone(
    directory_store: Store, hub: GuardedHub, tmp_path: Path, kind: str
) -> None:
    getattr(hub, kind)[REPO] = "hf_ann"
    refused = (404, "RepoNotFound") if kind == "private" else (403, "GatedRepo")

    def asked(served: Served, token: str = "") -> tuple[int, str | None]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        found = {
            (answer.status, answer.headers.get("x-error-code"))
            for answer in (
                served.ask(WEIGHTS, headers=headers),
                served.ask(WEIGHTS, "HEAD", headers),
                served.ask(f"/api/models/{REPO}", headers=headers),
                served.ask(f"/api/models/{REPO}/tree/main", headers=headers),
            )
        }
        if kind == "private" and found == {refused}:  # nor is it told that there is such a repo
            assert served.ask(WEIGHTS.replace("main", "dev"), headers=headers).headers["x-error-code"] == refused[1]
        assert len(found) == 1
        return found.pop()

    with serving(directory_store, tmp_path / "1", hub.url) as first:
        assert asked(first) == asked(first, "hf_bob") == refused
        assert asked(first, "hf_ann") == (200, None)
        assert asked(first) == asked(first, "hf_bob") == refused
    with serving(directory_store, tmp_path / "2", hub.url) as second:
        assert "sub/weights.bin" in hub_files(second)
        assert asked(second) == asked(second, "hf_bob") == refused
        assert asked(second, "hf_ann") == (200, None)
        assert second.ask("/api/models").document == []
        hub.down = True
        assert asked(second, "hf_ann") == (200, None)
        assert asked(second, "hf_eve")[0] == 503
    # Who cannot ask the hub about a caller answers nobody.
    with serving(directory_store, tmp_path / "3", None) as third:
        assert asked(third, "hf_ann") == asked(third) == refused


def test_the_servers_token_stays_here_and_the_callers_goes_to_the_hub(
    directory_store: Store, hub: GuardedHub, cache: Path
) -> None:
    hub.private[REPO] = "hf_ann"
    with serving(directory_store, cache, hub.url, token="geheim") as served:

        def status(token: str) -> int:
            return served.ask(CONFIG, headers={"Authorization": f"Bearer {token}"}).status

        assert [status(token) for token in ("", "geheim1", "hf_ann", "hf_ann:geheim", "geheim:hf_bob")] == [401] * 4 + [
            404
        ]
        assert [status(token) for token in ("geheim", "geheim:hf_ann")] == [404, 200]
        assert served.ask("/metrics").status == 401 and served.ask("/health").status == 200
        assert served.ask(CONFIG).headers["www-authenticate"] == 'Bearer realm="cas"'
    assert hub.tokens == {None, "Bearer hf_bob", "Bearer hf_ann"}


def test_what_a_person_published_is_never_asked_for_upstream(pulling: Pulling, hub: GuardedHub, tmp_path: Path) -> None:
    publish_tree(pulling.store, write_tree(tmp_path / "own", {"config.json": b"{}"}))
    assert pulling.ask(CONFIG).body == b"{}"
    assert hub.requests == []


def test_a_branch_that_moved_upstream_is_followed_and_remembered(
    pulling: Pulling, hub: GuardedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cas.ops.serve.pull_through._FRESH_SECONDS", 0.0)
    assert pulling.ask(CONFIG).body == FILES["config.json"]
    until(pulling.published)
    before = pulling.ask(CONFIG, "HEAD").headers["x-repo-commit"]
    write_tree(hub.root / REPO, {"config.json": b'{"a": 2}'})
    assert pulling.ask(CONFIG).body == b'{"a": 2}'
    until(lambda: pulling.published() == 2)
    hub.down = True
    assert pulling.ask(CONFIG).body == b'{"a": 2}'
    hub.down = False
    shutil.rmtree(hub.root / REPO)  # who can publish there can take back, too
    assert pulling.ask(CONFIG).body == b'{"a": 2}'
    assert pulling.ask(CONFIG.replace("main", before)).body == FILES["config.json"]


def test_a_hub_that_is_busy_is_told_as_such(pulling: Pulling, hub: GuardedHub) -> None:
    hub.busy = True
    answer = pulling.ask(CONFIG)
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert "429" in answer.document["error"]
    hub.busy = False
    assert pulling.ask("/org/other/resolve/main/x").headers["x-error-code"] == "RepoNotFound"
    assert pulling.ask(f"/{REPO}/resolve/dev/x").headers["x-error-code"] == "RevisionNotFound"
    metrics = pulling.ask("/metrics").body.decode()
    assert 'cas_serve_upstream_requests_total{outcome="429"} 1.0' in metrics


@pytest.mark.parametrize("repo", ["..%2f..%2fx", "a%3fb", "a%23b", "org%2fmodel%2f..", "-a", "a%0d%0ab"])
def test_no_name_of_a_repo_changes_the_request_to_the_hub(pulling: Pulling, hub: GuardedHub, repo: str) -> None:
    assert pulling.ask(f"/{repo}/x/resolve/main/config.json").status in (400, 404)
    assert pulling.ask(f"/api/models/{repo}").status in (400, 404)
    assert hub.requests == []
