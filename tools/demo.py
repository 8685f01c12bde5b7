"""Publish and restore a real trained model, end to end, without the internet: `python -m tools.demo`.

A local hub serves all-MiniLM-L6-v2. The demo publishes it through the real huggingface_hub client into a store
(CAS_STORE, else a directory), deletes the cache, restores the model, and loads it offline.
"""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cas
from cas import refs
from cas.store.layout import chunk_key
from tools.models.minilm import model_dir
from tools.servers.hub import Hub

MODEL = "minilm"
REPO = "sentence-transformers/all-MiniLM-L6-v2"

_LOAD_OFFLINE = """
import sys, huggingface_hub as hub
print(hub.snapshot_download(sys.argv[1], local_files_only=True))
warnings = hub.scan_cache_dir().warnings
sys.exit("; ".join(map(str, warnings)) if warnings else 0)
"""


def main() -> int:
    """Run the demo in a temporary directory and print a table; return 1 when a restored file differs, else 0."""
    # The commands write to standard error: line buffering keeps their lines and ours in the order of the events.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    model = model_dir()
    with tempfile.TemporaryDirectory(prefix="cas-demo-") as temporary:
        home = Path(temporary)
        _copy_to_hub(model, home / "hub")
        environment = {
            **os.environ,
            "CAS_STORE": os.environ.get("CAS_STORE") or str(home / "store"),
            "HF_HOME": str(home / "huggingface"),
        }
        environment.pop("HF_HUB_CACHE", None)
        with Hub(home / "hub") as hub:
            print(f"a local hub serves {REPO} at {hub.url}")
            online = {**environment, "HF_ENDPOINT": hub.url}
            published, publish_seconds = _cas(["publish", MODEL, "--repo", REPO], online)
        print("the hub is stopped; the Hugging Face cache is deleted")
        shutil.rmtree(environment["HF_HOME"])
        restored, restore_seconds = _cas(["restore", MODEL], environment)
        _, warm_seconds = _cas(["restore", MODEL], environment)
        snapshot = _load_offline(environment)
        different = _compare(model, snapshot)
        stored = _stored_bytes(environment["CAS_STORE"], published["reference"])
    rows = {
        "bytes": f"{restored['total']:,}",
        "stored bytes": f"{stored:,}",
        "stored / bytes": f"{stored / restored['total']:.3f}",
        "publish": f"{publish_seconds:.2f} s, download from the hub included",
        "restore": f"{restore_seconds:.2f} s",
        "warm restore": f"{warm_seconds:.2f} s",
    }
    print()
    for name, value in rows.items():
        print(f"{name:>14}  {value}")
    print(f"\n{len(different)} files differ" if different else "\nevery file's sha256 is that of the original")
    return 1 if different else 0


def _copy_to_hub(model: Path, root: Path) -> None:
    """Put the model into the hub's folder, by hard links where the file system has them."""
    (root / REPO).parent.mkdir(parents=True)
    shutil.copytree(model, root / REPO, copy_function=_link_or_copy)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _cas(words: list[str], environment: dict[str, str]) -> tuple[dict[str, Any], float]:
    """Run the real command, and return its JSON document and the seconds that its whole process took."""
    print("$ cas", *words)
    begun = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-m", "cas", "--json", *words], env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    seconds = time.monotonic() - begun
    if ran.returncode:
        sys.exit(f"demo: `cas {' '.join(words)}` ended with exit code {ran.returncode}")
    document: dict[str, Any] = json.loads(ran.stdout)
    return document, seconds


def _load_offline(environment: dict[str, str]) -> Path:
    print("$ python: huggingface_hub.snapshot_download(…, local_files_only=True), scan_cache_dir()")
    ran = subprocess.run(
        [sys.executable, "-c", _LOAD_OFFLINE, REPO],
        env={**environment, "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if ran.returncode:
        sys.exit("demo: huggingface_hub does not accept the restored cache")
    return Path(ran.stdout.strip())


def _compare(original: Path, snapshot: Path) -> list[Path]:
    files = [path.relative_to(original) for path in original.rglob("*") if path.is_file()]
    return [path for path in files if _sha256(original / path) != _sha256(snapshot / path)]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stored_bytes(url: str, reference: str) -> int:
    store = cas.open_store(url)
    manifest = refs.resolve(store, reference).manifest
    return sum(store.bucket.head(chunk_key(digest)).size for digest in manifest.chunks())


if __name__ == "__main__":
    sys.exit(main())
