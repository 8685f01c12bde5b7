"""Three versions of huggingface_hub, unmodified, get everything from `cas serve`, and ask nobody else."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cas.bucket import open_bucket
from cas.store.store import Store
from tests.support.hub import HUBS
from tests.support.models import COMMIT, noise, put_model, write_tree
from tests.support.processes import run_cas
from tests.support.served import Outside, Served, nothing_outside, serving
from tools.servers.hub import Hub

ROOT = Path(__file__).parents[3]
MODEL = {
    "README.md": b"# m\n",
    "config.json": b'{"a": 1}',
    "empty.txt": b"",
    "sub dir/ü#1 %41.txt": b"a name that has to be quoted",
    "unet/model.safetensors": noise(300_000, seed=1),
    "weights.bin": noise(700_000, seed=2),
}
OLDER = {**MODEL, "config.json": b'{"a": 0}'}
OLD_COMMIT = "d" * 40
DATA = {"README.md": b"---\nlicense: mit\n---\n", "data/train.csv": b"a,b\n1,2\n" * 5000}

CLIENT = """
import json, os, sys
from pathlib import Path
import huggingface_hub
from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError)
api = HfApi()
home = Path(os.environ["HF_HOME"])
def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes().hex() for p in Path(folder).rglob("*")
            if p.is_file() and ".cache" not in p.parts}
def error(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except Exception as error:
        return type(error).__name__
def hf(*words):
    from huggingface_hub.cli import hf
    sys.argv = ["hf", *words]
    try:
        hf.main()
    except SystemExit as ended:
        return ended.code or 0
    return 0
"""

ASKED = """
repo, old = "org/model", sys.argv[1]
found["one file"] = Path(hf_hub_download(repo, "config.json")).read_text()
found["of a commit"] = Path(hf_hub_download(repo, "config.json", revision=old)).read_text()
found["of a tag"] = Path(hf_hub_download(repo, "config.json", revision="old")).read_text()
found["some"] = sorted(tree(snapshot_download(repo, allow_patterns="unet/*", local_dir=home / "some")))
found["all"] = tree(snapshot_download(repo))
found["dataset"] = tree(snapshot_download("org/data", repo_type="dataset"))
found["dataset's file"] = Path(hf_hub_download("org/data", "data/train.csv", repo_type="dataset")).stat().st_size
info = api.model_info(repo)
found["info"] = [info.id, info.sha, sorted(s.rfilename for s in info.siblings)]
found["sizes"] = {s.rfilename: s.size for s in api.model_info(repo, files_metadata=True).siblings}
found["dataset's sha"] = api.dataset_info("org/data").sha
found["files"] = sorted(api.list_repo_files(repo, revision=old))
found["branches"] = [ref.name for ref in api.list_repo_refs(repo).branches]
paths = api.get_paths_info(repo, ["unet", "weights.bin", "no"])
found["paths"] = sorted((path.path, getattr(path, "size", -1)) for path in paths)
found["exist"] = [api.repo_exists(repo), api.repo_exists("org/no"), api.file_exists(repo, "weights.bin"),
                  api.file_exists(repo, "no.bin"), api.revision_exists(repo, "no")]
files = HfFileSystem()
found["listed"] = sorted(files.ls(repo, detail=False))
with files.open(repo + "/weights.bin") as file:
    file.seek(654_321)
    found["range"] = file.read(1000).hex()
found["errors"] = [error(snapshot_download, "org/no"), error(hf_hub_download, repo, "no.bin"),
                   error(hf_hub_download, repo, "config.json", revision="no")]
found["cli"] = [hf("download", repo, "weights.bin", "--local-dir", str(home / "cli")),
                hf("download", "org/data", "--repo-type", "dataset", "--local-dir", str(home / "cli-data"))]
found["cli's files"] = [sorted(tree(home / "cli")), sorted(tree(home / "cli-data"))]
found["xet"] = sorted(str(p) for p in home.rglob("xet/*"))
found["local"] = snapshot_download(repo, local_files_only=True) == snapshot_download(repo)
"""

OFFLINE = """
found["all"] = tree(snapshot_download("org/model"))
found["by commit"] = tree(snapshot_download("org/model", revision=sys.argv[1]))
found["file"] = Path(hf_hub_download("org/model", "config.json")).read_text()
found["missing"] = error(hf_hub_download, "org/model", "no.bin")
"""


def ask(version: str, code: str, folder: Path, env: dict[str, str], *words: str) -> dict[str, Any]:
    """Run code with one version of huggingface_hub, and return the dictionary `found` that it fills."""
    said = folder / "found.json"
    end = f"\njson.dump(found, open({str(said)!r}, 'w'))"
    ran = subprocess.run(
        [ROOT / ".venv/hubs" / version / "bin/python", "-c", f"{CLIENT}\nfound = {{}}\n{code}{end}", *words],
        env={
            **os.environ,
            "HF_HOME": str(folder / "hf"),
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            **env,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(said.read_text())
    return found


def hexed(files: dict[str, bytes]) -> dict[str, str]:
    return {name: data.hex() for name, data in files.items()}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of `org/model`, published from a hub that is gone, of an older version of it, and of a dataset."""
    folder = tmp_path_factory.mktemp("served")
    for name, data in MODEL.items():
        write_tree(folder / "hub/org/model", {name: data})
    url = str(folder / "store")
    with Hub(folder / "hub") as hub:
        environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "hf")}
        published = run_cas("--store", url, "publish", "m", "--repo", "org/model", env=environment)
    assert published.returncode == 0, published.stderr
    store = Store(open_bucket(url))
    put_model(store, {"org/model": OLDER}, model="m", tag="old", commit=OLD_COMMIT)
    put_model(store, {"org/data": DATA}, model="data", repo_type="dataset")
    with serving(url, folder / "serve") as server:
        yield server


def test_a_request_to_somebody_else_would_be_noticed() -> None:
    outside = Outside()
    outside.start()
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({"https": outside.env()["https_proxy"]}))
        with pytest.raises(OSError, match="403"):
            opener.open("https://hub.invalid/api/models")
    finally:
        outside.stop()
    assert [line.rpartition(" ")[0] for line in outside.asked] == ["CONNECT hub.invalid:443"]


@pytest.mark.parametrize("version", HUBS)
def test_a_client_gets_everything_and_asks_nobody_else(served: Served, version: str, tmp_path: Path) -> None:
    with nothing_outside() as proxies:
        found = ask(version, ASKED, tmp_path, {**proxies, "HF_ENDPOINT": served.url}, OLD_COMMIT)
    names = sorted(MODEL)
    sizes = {name: len(data) for name, data in MODEL.items()}
    assert found == {
        "one file": '{"a": 1}',
        "of a commit": '{"a": 0}',
        "of a tag": '{"a": 0}',
        "some": ["unet/model.safetensors"],
        "all": hexed(MODEL),
        "dataset": hexed(DATA),
        "dataset's file": len(DATA["data/train.csv"]),
        "info": ["org/model", found["info"][1], names],
        "sizes": sizes,
        "dataset's sha": COMMIT,
        "files": sorted(OLDER),
        "branches": found["branches"],
        "paths": [["unet", -1], ["weights.bin", sizes["weights.bin"]]],
        "exist": [True, False, True, False, False],
        "listed": sorted({f"org/model/{name.partition('/')[0]}" for name in names}),
        "range": MODEL["weights.bin"][654_321:655_321].hex(),
        "errors": ["RepositoryNotFoundError", found["errors"][1], "RevisionNotFoundError"],
        "cli": [0, 0],
        "cli's files": [["weights.bin"], sorted(DATA)],
        "xet": [],
        "local": True,
    }
    assert found["errors"][1] in {"EntryNotFoundError", "RemoteEntryNotFoundError"}
    assert "main" in found["branches"]
    if version == HUBS[1]:  # the strictest: it refuses an incomplete snapshot
        gone = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1"}
        assert ask(version, OFFLINE, tmp_path, gone, found["info"][1]) == {
            "all": hexed(MODEL),
            "by commit": hexed(MODEL),
            "file": '{"a": 1}',
            "missing": "LocalEntryNotFoundError",
        }
