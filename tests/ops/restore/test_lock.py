"""Restores by a lock file: what they ask the bucket for, and what the bucket cannot do to them."""

from __future__ import annotations

import functools
import http.server
import shutil
from pathlib import Path

import pytest

import cas
from cas.bucket import Kind
from cas.errors import AccessDenied
from cas.store.store import open_store
from tests.support.buckets import proxied
from tests.support.models import read_tree, snapshot
from tests.support.two_versions import OLD, Boot, boot_at
from tools.servers.seaweed import SeaweedFS
from tools.servers.serving import ClosableServer


class _Files(http.server.SimpleHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012 (each test makes a class of its own)

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_only_chunks_are_asked_of_a_real_server(
    s3_url: str, seaweed: SeaweedFS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot = boot_at(open_store(s3_url), tmp_path)
    words = ["--store", s3_url, "restore", "--cache-dir", str(boot.cache)]
    with proxied(seaweed, monkeypatch) as proxy:
        assert boot.cas(*words, "--lock", str(boot.lock)).returncode == 0
        asked = [exchange.path for exchange in proxy.requests]
        assert len(asked) == len(cas.read_lock(boot.lock).manifest.chunks())
        assert all("/cas/chunks/" in path for path in asked), asked
        proxy.requests.clear()
        # The same by name asks for more, so that the count above could have failed; warm by lock asks for nothing.
        assert boot.cas(*words, "m:v1").returncode == 0
        assert proxy.count(path_contains="format.json") == 1
        proxy.requests.clear()
        for word in ("restore", "verify", "env"):
            done = boot.cas("--store", s3_url, word, "--cache-dir", str(boot.cache), "--lock", str(boot.lock))
            assert (done.returncode, proxy.requests) == (0, []), done.stderr


def test_a_store_over_http_is_restored_from_by_a_lock(boot: Boot) -> None:
    class Files(_Files):
        asked: list[str] = []  # noqa: RUF012

    server = ClosableServer(("127.0.0.1", 0), functools.partial(Files, directory=boot.store.url))  # type: ignore[arg-type]
    server.start()
    try:
        restored = cas.restore(cas.read_lock(boot.lock), f"http://127.0.0.1:{server.port}", cache_dir=boot.cache)
    finally:
        server.stop()
    assert read_tree(snapshot(restored)) == OLD
    assert Files.asked
    assert all(path.startswith("/chunks/") for path in Files.asked), Files.asked


def test_a_lock_holds_when_tags_and_manifests_are_gone(boot: Boot) -> None:
    for name in ("refs", "manifests"):
        shutil.rmtree(Path(boot.store.url, name))
    Path(boot.store.url, "format.json").unlink()
    restored = boot.json("restore", "--lock", str(boot.lock))
    assert restored["reference"] == boot.old
    assert read_tree(Path(restored["snapshots"]["org/model"])) == OLD


def test_whoever_may_write_to_the_bucket_cannot_change_what_is_loaded(boot: Boot) -> None:
    bucket = boot.store.bucket
    evil = Path(boot.store.url, "manifests/m", f"{boot.new[len('m@blake3:') :]}.json").read_bytes()
    bucket.put(f"manifests/m/{boot.old_digest}.json", evil, Kind.MANIFEST, overwrite=True)
    cas.write_lock(boot.new, boot.store, boot.lock.with_name("other.json"))
    assert boot.cas("tag", boot.new, "v1").returncode == 0
    assert boot.cas("restore", boot.old).returncode == 4
    restored = cas.restore(cas.read_lock(boot.lock), boot.store, cache_dir=boot.cache)
    assert read_tree(snapshot(restored)) == OLD
    shutil.rmtree(boot.cache)
    # A chunk that was exchanged is not what its name says.
    largest = max(cas.read_lock(boot.lock).manifest.chunks().items(), key=lambda item: item[1])[0]
    other = next(path for path in Path(boot.store.url, "chunks").rglob("*") if path.is_file() and path.name != largest)
    shutil.copy(other, Path(boot.store.url, "chunks", largest[:2], largest))
    done = boot.cas("restore", "--lock", str(boot.lock))
    assert (done.returncode, f"chunk blake3:{largest}" in done.stderr) == (4, True), done.stderr


def test_a_chunk_that_is_gone_is_not_found(boot: Boot) -> None:
    shutil.rmtree(Path(boot.store.url, "chunks"))
    done = boot.cas("restore", "--lock", str(boot.lock))
    assert (done.returncode, "publish the model again" in done.stderr) == (3, True), done.stderr


def test_run_env_and_verify_take_a_lock(boot: Boot) -> None:
    for words in (["--", "sh", "-c", 'echo "$CAS_MODEL"'], ["sh", "-c", 'echo "$CAS_MODEL"']):
        done = boot.run("-q", "run", "--lock", str(boot.lock), *words)
        assert (done.returncode, done.stdout) == (0, f"{boot.old}\n"), done.stderr
    assert boot.json("env", "--lock", str(boot.lock), CAS_STORE="s3://no-credentials/cas")["CAS_MODEL"] == boot.old
    assert boot.json("verify", "--lock", str(boot.lock), CAS_STORE="s3://no-credentials/cas")["sound"] is True
    next(boot.cache.glob("models--*/blobs/*")).unlink()
    damaged = boot.cas("verify", f"--lock={boot.lock}")
    assert (damaged.returncode, f"`cas restore --lock {boot.lock}`" in damaged.stderr) == (4, True)


def test_a_reference_and_a_lock_exclude_each_other(boot: Boot) -> None:
    for words in (["restore", "m"], ["env", "m"], ["verify", "m"], ["run", "m"]):
        tail = ["--", "true"] if words[0] == "run" else []
        done = boot.cas(*words, "--lock", str(boot.lock), *tail)
        assert (done.returncode, "give one of them" in done.stderr) == (2, True), done.stderr
    assert boot.cas("run", "--lock").returncode == 2
    assert boot.cas("verify").returncode == 2


def test_the_store_of_a_lock_must_still_be_one_that_may_be_read(boot: Boot) -> None:
    with pytest.raises(AccessDenied, match="no S3 credentials"):
        cas.restore(cas.read_lock(boot.lock), "s3://bucket/cas", cache_dir=boot.cache)
