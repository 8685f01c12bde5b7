"""Publish and restore with a real model, real servers and three generations of the real huggingface_hub client."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import cas
from cas import refs
from cas.store.layout import chunk_key
from cas.store.store import Store
from tests.support.models import REPO, publish_tree, read_tree, sha256, snapshot, write_tree
from tests.support.processes import run_cas
from tools.models.minilm import model_dir
from tools.servers.hub import Hub

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
HUBS = ("0.36", "1.33", "2.4")
ROOT = Path(__file__).parent.parent

_CLIENT = """
import json, sys, huggingface_hub as hub
repo, name = sys.argv[1:3]
by_branch = hub.snapshot_download(repo, local_files_only=True)
commit = by_branch.rsplit("/", 1)[1]
found = {
    "version": hub.__version__,
    "by_branch": by_branch,
    "by_commit": hub.snapshot_download(repo, revision=commit, local_files_only=True),
    "file": hub.hf_hub_download(repo, name),
    "warnings": [str(warning) for warning in hub.scan_cache_dir().warnings],
}
print(json.dumps(found))
"""


def ask_client(version: str, repo: str, name: str, hub_cache: Path) -> dict[str, str]:
    """Run huggingface_hub of that version on the cache, offline, and return what it finds."""
    ran = subprocess.run(
        [ROOT / ".venv/hubs" / version / "bin/python", "-c", _CLIENT, repo, name],
        env={**os.environ, "HF_HUB_CACHE": str(hub_cache), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, str] = json.loads(ran.stdout)
    return found


@pytest.mark.parametrize("kind", ["directory", "s3"])
def test_a_model_from_a_hub_survives_the_loss_of_the_machine(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = str(tmp_path / "store") if kind == "directory" else request.getfixturevalue("s3_url")
    shutil.copytree(model_dir(), tmp_path / "hub" / MINILM)
    cache = tmp_path / "cache"
    with Hub(tmp_path / "hub", redirect_lfs=True) as hub:
        first = run_cas(
            *("--store", url, "--json", "publish", "minilm", "--repo", MINILM, "--cache-dir", str(cache)),
            env={"HF_ENDPOINT": hub.url},
        )
    assert first.returncode == 0, first.stderr
    published = json.loads(first.stdout)
    assert published["wire"] / published["total"] <= 0.85
    shutil.rmtree(cache)

    restored = run_cas("--store", url, "--json", "restore", "minilm", "--cache-dir", str(cache))
    assert restored.returncode == 0, restored.stderr
    folder = Path(json.loads(restored.stdout)["snapshots"][MINILM])
    originals = {path.relative_to(model_dir()) for path in model_dir().rglob("*") if path.is_file()}
    assert {path: sha256(folder / path) for path in originals} == {
        path: sha256(model_dir() / path) for path in originals
    }
    for version in HUBS:
        found = ask_client(version, MINILM, "model.safetensors", cache)
        assert found["version"].startswith(version)
        assert found["warnings"] == []
        assert found["by_branch"] == found["by_commit"] == str(folder)
        assert found["file"] == str(folder / "model.safetensors")

    again = run_cas("--store", url, "--json", "restore", "minilm", "--cache-dir", str(cache))
    assert json.loads(again.stdout)["changed"] is False


def test_a_private_folder_comes_back_as_a_repo(store: Store, tmp_path: Path) -> None:
    files = {"config.json": b"{}", "weights/a.bin": os.urandom(9 << 20), "empty.txt": b"", "weights/b.bin": b"b"}
    source = write_tree(tmp_path / "private", {**files, ".git/HEAD": b"not content"})
    publish_tree(store, source)
    restored = cas.restore("m", store, cache_dir=tmp_path / "cache")
    assert read_tree(snapshot(restored)) == files
    for version in HUBS:
        assert ask_client(version, REPO, "weights/a.bin", tmp_path / "cache")["warnings"] == []


def test_stored_chunks_are_frames_that_any_zstd_reads(directory_store: Store, tmp_path: Path) -> None:
    if shutil.which("zstd") is None:
        pytest.skip("there is no zstd program here")
    text = b"a frame is a skippable frame and an ordinary one\n" * 100
    publish_tree(directory_store, write_tree(tmp_path / "src", {"a.txt": text}))
    (digest,) = refs.resolve(directory_store, "m").manifest.chunks()
    stored = Path(directory_store.url) / chunk_key(digest)
    ran = subprocess.run(["zstd", "-dc"], input=stored.read_bytes(), capture_output=True, check=True)
    assert ran.stdout == text


def test_the_python_interface_is_what_the_package_promises(directory_store: Store, tmp_path: Path) -> None:
    seen: list[cas.Event] = []
    source = cas.Source.from_folder(write_tree(tmp_path / "src", {"a": b"1" * 100}), REPO)
    published = cas.publish("m", source, directory_store.url, on_event=seen.append)
    restored = cas.restore("m", cas.open_store(directory_store.url), cache_dir=tmp_path / "c", on_event=seen.append)
    assert restored.reference == published.reference
    assert {type(event).__name__ for event in seen} == {"Phase", "Resolved", "Moved", "Completed"}
