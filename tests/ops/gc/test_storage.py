"""Storage with ways of its own: buckets that keep versions, and a server that ignores what it is asked."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cas
from cas.bucket import open_bucket
from cas.errors import RefMoved
from cas.ops.gc import collector
from cas.refs.reference import Reference, log_of
from cas.store.store import Store
from tests.support.collecting import AT_ONCE, Models, dangling
from tests.support.models import publish_tree, write_tree
from tools.servers.process import free_ports, spawn


def stored(client: Any, models: Models, prefix: str) -> list[tuple[str, bool]]:
    """Keys of all stored versions and marks of deletions below a prefix, and whether each is a mark."""
    answer = client.list_object_versions(Bucket=models.store.url.split("/")[2], Prefix=f"cas/{prefix}")
    found = [(one["Key"], False) for one in answer.get("Versions", ())]
    return found + [(one["Key"], True) for one in answer.get("DeleteMarkers", ())]


def test_versions_are_deleted_by_their_ids(versioned: Models, client: Any) -> None:
    old = versioned.publish("old")
    new = versioned.publish("new")
    garbage = versioned.needed(old) - versioned.needed(new)
    versioned.collect(keep=1)
    done = versioned.collect(keep=1)
    assert (done.swept_versions, done.swept_chunks) == (1, len(garbage))
    assert len(stored(client, versioned, "chunks")) == len(versioned.needed(new))
    assert stored(client, versioned, "manifests") == [(f"cas/manifests/m/{new}.json", False)]
    versioned.collect(keep=1)
    assert stored(client, versioned, "gc") == []
    assert stored(client, versioned, "leases") == []
    assert versioned.restored("m") == b"new" * 1000


def test_what_was_sent_again_is_freed_of_its_older_version_only(versioned: Models, client: Any) -> None:
    old = versioned.publish("old")
    versioned.publish("new")
    versioned.collect(keep=1)
    versioned.settle()
    again = versioned.publish("old")
    (own,) = versioned.needed(old) - versioned.needed(versioned.made["new"]) or versioned.needed(again)
    key = f"cas/chunks/{own[:2]}/{own}"
    assert len(stored(client, versioned, f"chunks/{own[:2]}/{own}")) == 2
    versioned.collect()
    assert versioned.restored("m") == b"old" * 1000
    assert (key, True) not in stored(client, versioned, "chunks")
    assert dangling(versioned.store) == []


def test_uploads_in_parts_that_nobody_ended_are_freed(s3_url: str, client: Any, tmp_path: Path) -> None:
    models = Models(Store(open_bucket(s3_url)), tmp_path)
    models.publish("a")
    bucket = s3_url.split("/")[2]
    for key in ("cas/chunks/00/part", "elsewhere/part"):
        upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"x" * 1000)
    models.collect()
    left = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    assert [one["Key"] for one in left] == ["elsewhere/part"]


@pytest.fixture
def careless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Models]:
    """A store behind `rclone serve s3`, which answers 200 to conditional writes and ignores the condition."""
    (port,) = free_ports(1)
    rclone = Path(sys.executable).with_name("rclone")
    (tmp_path / "served" / "bucket").mkdir(parents=True)
    key, secret = secrets.token_hex(8), secrets.token_hex(16)
    command = [str(rclone), "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{key},{secret}"]
    server = spawn([*command, "--force-path-style", str(tmp_path / "served")], tmp_path / "rclone.log", {})
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    try:
        models = Models(Store(open_bucket("s3://bucket/cas")), tmp_path)
        for _ in range(100):
            try:
                models.store.bucket.exists("x")
                break
            except cas.CasError:
                time.sleep(0.1)
        yield models
    finally:
        server.kill()
        server.wait()


def test_a_server_that_ignores_conditions_loses_nothing(careless: Models) -> None:
    old, new = careless.publish("old"), careless.publish("new")
    log = log_of(careless.store, Reference("m", tag="v1"))
    told = 0
    for digest in (old, new, old):
        try:
            log.append(digest, "test")
        except RefMoved:
            told += 1
    assert (told, log.current_digest(), len(log.names())) == (0, old, 3)
    log.append(None, "untag")
    careless.collect(keep=1)
    done = careless.collect(keep=1)
    assert (done.swept_versions, done.swept_chunks) == (1, 1)
    assert careless.versions() == {new}
    assert careless.restored("m") == b"new" * 1000
    assert dangling(careless.store, keep=1) == []


def test_sixteen_publishers_at_once_lose_nothing_there_either(careless: Models) -> None:
    trees = [write_tree(careless.folder / f"tree{number}", {"w": os.urandom(1000)}) for number in range(16)]
    words = [
        sys.executable,
        "-m",
        "cas",
        "-q",
        "--store",
        careless.store.url,
        "publish",
        "m",
        "--as",
        "org/model",
        "--dir",
    ]
    publishers = [
        subprocess.Popen([*words, str(tree)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for tree in trees
    ]
    ended = [(one.communicate(timeout=120), one.returncode) for one in publishers]
    assert {code for _, code in ended} <= {0, 6}, ended
    assert len(careless.versions()) == 16
    assert len(log_of(careless.store, Reference("m", tag="latest")).names()) == 16
    assert dangling(careless.store) == []
    assert collector.gc(careless.store, grace=AT_ONCE).kept_versions == 16
    assert publish_tree(careless.store, trees[0]).moved in (("latest",), ())
