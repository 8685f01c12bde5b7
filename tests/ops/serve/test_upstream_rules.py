"""What a server with an upstream hub does where the hub, the store or its callers are not as usual."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from cas.errors import InputError, StoreError
from cas.formats.manifest import Repo, RepoFile
from cas.hub.upstream import Upstream
from cas.local.hf_cache import blob_hash
from cas.ops.serve.pull_through import PulledRepo
from cas.ops.serve.pulls import Pulls
from cas.store.store import Store
from tests.ops.serve.test_pull_through import hub_files, serving
from tests.ops.serve.upstream_hub import GuardedHub
from tests.support.models import COMMIT, REPO, write_tree
from tests.support.processes import until

FILES = {"config.json": b'{"a": 1}', "weights.bin": b"0123456789" * 5000}
OLD_NAME = "org/renamed"


class RenamingHub(GuardedHub):
    """A hub whose repo has had another name, from which it redirects everybody."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        handler = self._server.RequestHandlerClass

        class Renaming(handler):  # type: ignore[misc,valid-type]
            def do_GET(self) -> None:  # noqa: N802 (http.server gives the name)
                if OLD_NAME in self.path:
                    self._reply(HTTPStatus.TEMPORARY_REDIRECT, b"", {"Location": self.path.replace(OLD_NAME, REPO)})
                else:
                    super().do_GET()

            do_HEAD = do_GET  # noqa: N815 (as above)

        self._server.RequestHandlerClass = Renaming


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[RenamingHub]:
    write_tree(tmp_path / "hub" / REPO, FILES)
    with RenamingHub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a moment instead of seconds before a file is asked for again."""
    monkeypatch.setattr("cas.ops.serve.pulls._FIRST_PAUSE", 0.01)


@pytest.mark.parametrize("kind", ["private", "gated"])
def test_a_redirect_from_an_old_name_admits_nobody(
    directory_store: Store, cache: Path, hub: RenamingHub, kind: str
) -> None:
    getattr(hub, kind)[REPO] = "hf_ann"
    path = f"/{OLD_NAME}/resolve/main/weights.bin"
    with serving(directory_store, cache, hub.url) as first:
        assert first.ask(path, headers={"Authorization": "Bearer hf_ann"}).body == FILES["weights.bin"]
        commit = first.ask(path, "HEAD", {"Authorization": "Bearer hf_ann"}).headers["x-repo-commit"]
    with serving(directory_store, cache, hub.url) as second:
        for revision in ("main", commit):
            asked = path.replace("main", revision)
            assert second.ask(asked).status == (404 if kind == "private" else 403)
            assert second.ask(asked, headers={"Authorization": "Bearer hf_ann"}).body == FILES["weights.bin"]


def test_a_failing_hub_is_not_told_as_a_failing_store(directory_store: Store, cache: Path, hub: RenamingHub) -> None:
    with serving(directory_store, cache, hub.url) as served:
        assert served.ask(f"/{REPO}/resolve/main/config.json", "HEAD").status == 200
        hub.down = True
        answer = served.ask(f"/{REPO}/resolve/main/config.json")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert hub.url in answer.document["error"] and "store" not in answer.document["error"]


@pytest.mark.parametrize("revision", [".", "..", "%2e%2e"])
def test_no_revision_changes_the_request_to_the_hub(
    directory_store: Store, cache: Path, hub: RenamingHub, revision: str
) -> None:
    with serving(directory_store, cache, hub.url) as served:
        answer = served.ask(f"/api/models/{REPO}/revision/{revision}")
    assert (answer.status, answer.headers["x-error-code"]) == (404, "RevisionNotFound")
    assert hub.requests == []


def test_a_publish_is_tried_again_when_the_store_was_away(
    directory_store: Store, cache: Path, hub: RenamingHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cas.api.serving import publisher_for

    publish, tries = publisher_for(directory_store), list[PulledRepo]()

    def away_at_first(pulled: PulledRepo) -> str:
        tries.append(pulled)
        if len(tries) == 1:
            raise StoreError("the bucket is away")
        return publish(pulled)

    monkeypatch.setattr("tests.ops.serve.test_pull_through.publisher_for", lambda store: away_at_first)
    monkeypatch.setattr("cas.ops.serve.pull_through._AGAIN_SECONDS", 0.0)
    with serving(directory_store, cache, hub.url) as served:
        assert served.ask(f"/{REPO}/resolve/main/config.json").status == 200
        until(served.published)
        assert "config.json" in hub_files(served)
    assert len(tries) == 2


def test_a_file_that_is_gone_does_not_keep_the_others_from_being_published(
    directory_store: Store, cache: Path, hub: RenamingHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cas.ops.serve.pull_through.PullThrough._publish_later", lambda self, key: None)
    with serving(directory_store, cache, hub.url) as served:
        pulls = served.server._hosting.pulls
        assert pulls is not None
        assert [served.ask(f"/{REPO}/resolve/main/{name}").status for name in FILES] == [200, 200]
        (key,) = pulls._arrived
        gone = pulls._arrived[key]["config.json"]
        next(cache.rglob(f"blobs/{gone.blob}")).unlink()
        asyncio.run(_publish(pulls, key))
        assert "weights.bin" in hub_files(served), served.warnings()


async def _publish(pulls: object, key: object) -> None:
    await pulls._publish_arrived(key)  # type: ignore[attr-defined]


class _Steps:
    """An upstream whose bytes come when everybody waits for them."""

    url = "https://hub"

    async def read(self, repo: Repo, path: str, token: str, start: int) -> AsyncIterator[bytes]:
        for _ in range(50):
            await asyncio.sleep(0)
        yield FILES["weights.bin"]


def test_files_of_one_content_that_are_asked_for_at_once_are_one_download_and_all_arrive(tmp_path: Path) -> None:
    data = FILES["weights.bin"]
    running = blob_hash("0" * 64, len(data))
    running.update(data)
    one, other = (RepoFile(path, len(data), running.hexdigest(), ()) for path in ("a.bin", "sub/b.bin"))
    arrived: list[str] = []

    async def ask() -> None:
        pulls = Pulls(_Steps(), tmp_path, lambda size: None, lambda repo, file: arrived.append(file.path))  # type: ignore[arg-type]

        async def fetch(file: RepoFile) -> bytes:
            repo = Repo(REPO, "model", COMMIT, (), (one, other))
            return b"".join([bytes(piece) async for piece in pulls.read(repo, file, 0, file.size, "")])

        assert await asyncio.gather(fetch(one), fetch(other)) == [data, data]
        await pulls.close()

    asyncio.run(ask())
    assert sorted(arrived) == ["a.bin", "sub/b.bin"]
    assert len(list(tmp_path.rglob("snapshots/*/**/*.bin"))) == 2


def test_what_a_killed_server_had_begun_to_fetch_is_removed(
    directory_store: Store, cache: Path, hub: RenamingHub
) -> None:
    left = cache / "0/upstream/models--org--model/parts" / ("0" * 64)
    left.parent.mkdir(parents=True)
    (cache / "0").chmod(0o700)
    left.write_bytes(b"half")
    with serving(directory_store, cache, hub.url):
        until(lambda: not left.exists())


def test_wrong_variables_for_certificates_end_the_start(
    directory_store: Store, cache: Path, hub: RenamingHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(cache / "absent.pem"))
    with pytest.raises(InputError, match="cannot be asked"):
        Upstream(hub.url)
    with pytest.raises(InputError, match="cannot be asked"), serving(directory_store, cache, hub.url):
        pass
