"""The real huggingface_hub against the local hub."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools.servers.hub import Hub

FILES = {
    "config.json": b"{}",
    "empty": b"",
    "sub/deep/x y.json": b"[1]",
    "model.safetensors": bytes(range(256)) * 12000,
    "big.txt": b"abc" * 500_000,
}

CLIENT = """
import json, sys
from pathlib import Path
import huggingface_hub
from huggingface_hub import utils

calls, cache = json.loads(sys.argv[1]), sys.argv[2]
for function, kwargs in calls:
    try:
        print(json.dumps(["ok", getattr(huggingface_hub, function)(**kwargs, cache_dir=cache)]))
    except Exception as error:
        print(json.dumps(["error", [kind.__name__ for kind in type(error).__mro__]]))
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / "root/org/model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "root"


@pytest.fixture
def hub(root: Path) -> Iterator[Hub]:
    with Hub(root) as hub:
        yield hub


def client(hub: Hub, cache: Path, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
    """Make the calls in a fresh process, as the endpoint is read on import; return what came of each."""
    env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1"}
    env.pop("HF_HUB_OFFLINE", None)
    command = [sys.executable, "-c", CLIENT, json.dumps(calls), str(cache)]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, timeout=120, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def get(hub: Hub, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes, dict[str, str]]:
    request = urllib.request.Request(hub.url + path, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read(), dict(response.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), dict(error.headers)


def commit_of(hub: Hub) -> str:
    sha: str = json.loads(get(hub, "/api/models/org/model")[1])["sha"]
    return sha


def contents(folder: str) -> dict[str, bytes]:
    paths = (path for path in Path(folder).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize("redirect", [False, True])
def test_clients_download_by_branch_commit_and_pattern(hub: Hub, tmp_path: Path, redirect: bool) -> None:
    hub.redirect_lfs = redirect
    commit = commit_of(hub)
    part, one, whole = client(
        hub,
        tmp_path / "cache",
        ("snapshot_download", {"repo_id": "org/model", "allow_patterns": ["*.safetensors"]}),
        ("hf_hub_download", {"repo_id": "org/model", "filename": "sub/deep/x y.json"}),
        ("snapshot_download", {"repo_id": "org/model", "revision": commit}),
    )
    assert (part[0], one[0], whole[0]) == ("ok", "ok", "ok")
    assert Path(one[1]).read_bytes() == FILES["sub/deep/x y.json"]
    assert contents(whole[1]) == FILES
    assert part[1] == whole[1]
    assert any(path.startswith("/cdn/") for _, path in hub.requests) == redirect


def test_clients_raise_the_errors_of_the_real_hub(hub: Hub, tmp_path: Path) -> None:
    answers = client(
        hub,
        tmp_path / "cache",
        ("hf_hub_download", {"repo_id": "org/none", "filename": "x"}),
        ("hf_hub_download", {"repo_id": "org/model", "filename": "config.json", "revision": "0" * 40}),
        ("hf_hub_download", {"repo_id": "org/model", "filename": "none.bin"}),
        ("snapshot_download", {"repo_id": "org/none"}),
        ("snapshot_download", {"repo_id": "org/model", "revision": "none"}),
    )
    wanted = ["RepositoryNotFoundError", "RevisionNotFoundError", "EntryNotFoundError"]
    wanted += ["RepositoryNotFoundError", "RevisionNotFoundError"]
    assert [status for status, _ in answers] == ["error"] * 5
    assert [name in kinds for name, (_, kinds) in zip(wanted, answers, strict=True)] == [True] * 5


def test_clients_resume_a_body_that_was_cut(hub: Hub, tmp_path: Path) -> None:
    hub.cut_bodies = True
    call = ("hf_hub_download", {"repo_id": "org/model", "filename": "model.safetensors"})
    _, (status, path) = client(hub, tmp_path / "cache", call, call)  # 0.36 resumes in a second call only
    assert status == "ok"
    assert Path(path).read_bytes() == FILES["model.safetensors"]
    assert [method for method, path in hub.requests if "resolve" in path].count("GET") == 2


def test_commits_follow_the_files(hub: Hub, root: Path) -> None:
    old = commit_of(hub)
    with Hub(root) as twin:
        assert commit_of(twin) == old
    (root / "org/model/extra.txt").write_text("more")
    new = commit_of(hub)
    assert new != old
    assert json.loads(get(hub, f"/api/models/org/model/revision/{old}")[1])["sha"] == old
    assert get(hub, f"/org/model/resolve/{old}/extra.txt")[0] == 404
    (root / "org/model/config.json").write_text("{ }")
    status, _, headers = get(hub, f"/api/models/org/model/tree/{new}")
    assert (status, headers["X-Error-Code"]) == (404, "RevisionNotFound")


def test_ranges_corruption_and_outage(hub: Hub) -> None:
    path, content = "/org/model/resolve/main/model.safetensors", FILES["model.safetensors"]
    status, body, headers = get(hub, path, {"Range": "bytes=10-19"})
    assert (status, body, headers["Content-Range"]) == (206, content[10:20], f"bytes 10-19/{len(content)}")
    assert get(hub, path, {"Range": f"bytes={len(content)}-"})[0] == 416
    hub.corrupt.add("model.safetensors")
    _, body, spoilt = get(hub, path)
    assert spoilt["ETag"] == headers["ETag"]
    flipped = [at for at, (is_, was) in enumerate(zip(body, content, strict=True)) if is_ != was]
    assert flipped == [len(content) // 2]
    hub.down = True
    assert get(hub, path)[0] == 503


def test_a_throttled_body_takes_its_time_and_does_not_hold_up_the_end(root: Path) -> None:
    with Hub(root, bytes_per_second=1000) as hub:
        response = urllib.request.urlopen(f"{hub.url}/org/model/resolve/main/model.safetensors", timeout=30)
        assert response.read(10) == FILES["model.safetensors"][:10]
    with response:  # the hub has cut the connection long before the 51 minutes are over
        assert len(response.read1(10_000)) < 10_000
