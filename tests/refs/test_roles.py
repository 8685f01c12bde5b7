"""The roles of docs/operations/permissions.md on a real server.

CI signs, workers move no ref, a person releases, gc deletes.
"""

from __future__ import annotations

import re
import secrets
import subprocess
from pathlib import Path

import pytest

from cas.bucket import open_bucket
from tests.support.in_process import call_cas
from tests.support.models import noise, write_tree
from tools.servers.seaweed import SeaweedFS


class Role:
    """Somebody with a key to the bucket, and perhaps keys for signatures.

    Args:
        seaweed: the server.
        bucket: the bucket's name.
        identity: whose key it is.
        folder: of files of their own.
        variables: more variables.
    """

    def __init__(self, seaweed: SeaweedFS, bucket: str, identity: str, folder: Path, **variables: str) -> None:
        home = {"HF_HOME": str(folder / identity), "XDG_CONFIG_HOME": str(folder / identity / "config")}
        self._variables = {**seaweed.env(bucket, identity), **home, **variables}

    def cas(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return call_cas(*map(str, words), env=self._variables)

    def does(self, *words: str | Path) -> str:
        """Return what a command prints that succeeds."""
        done = self.cas(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout


def objects(seaweed: SeaweedFS, bucket: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the keys below a folder of the store."""
    for name, value in seaweed.env(bucket).items():
        monkeypatch.setenv(name, value)
    return {entry.key for entry in open_bucket(f"s3://{bucket}/cas").list(prefix)}


def test_a_release_by_four_roles(seaweed: SeaweedFS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = f"roles-{secrets.token_hex(4)}"
    seaweed.create_bucket(bucket)
    monkeypatch.chdir(tmp_path)
    for name in ("release", "ann"):
        assert call_cas("keygen", name).returncode == 0
    public = {"CAS_TRUSTED_KEYS": f"{tmp_path}/release.pub,{tmp_path}/ann.pub"}
    first, second = (write_tree(tmp_path / name, {"model.bin": noise(300_000, len(name))}) for name in ("v1", "v-2"))
    publish = ("publish", "m", "--as", "org/m", "--tag", "latest", "--dir")

    ci = Role(seaweed, bucket, "writer", tmp_path, CAS_SIGNING_KEY=(tmp_path / "release.key").read_text(), **public)
    ci.does(*publish, first)
    ci.does("pin", "eu-prod", "m")

    worker = Role(seaweed, bucket, "signed-worker", tmp_path, CAS_RECEIPT="1", CAS_DEPLOYMENT="eu-prod", **public)
    worker.does("restore")
    refs = objects(seaweed, bucket, "refs/", monkeypatch)
    assert objects(seaweed, bucket, "receipts/eu-prod/", monkeypatch)
    left = worker.cas(*publish, second)
    assert left.returncode == 8, "the version is stored, and the tag left to who has a key"
    (stored,) = re.findall(r"`cas sign (m@blake3:[0-9a-f]{64}) --tag latest --store ", left.stderr)
    thief = Role(seaweed, bucket, "signed-worker", tmp_path)
    refused = thief.cas("tag", stored, "latest")
    assert refused.returncode == 6 and "PutObject" in refused.stderr, "the policy keeps refs from workers, keys or not"
    assert objects(seaweed, bucket, "refs/", monkeypatch) == refs

    ann = Role(seaweed, bucket, "writer", tmp_path, CAS_SIGNING_KEY=str(tmp_path / "ann.key"), **public)
    ann.does("sign", stored, "--tag", "latest")
    ann.does("pin", "eu-prod", "m")
    assert stored in worker.does("--json", "restore")
    ann.does("rollback", "pin:eu-prod/m")
    assert stored not in worker.does("--json", "restore")

    collector = Role(seaweed, bucket, "admin", tmp_path)
    collector.does("gc", "--grace", "0s", "--force")
    collector.does("gc", "--grace", "0s", "--force", "--keep", "1")
    signatures = {key for key in objects(seaweed, bucket, "refs/", monkeypatch) if key.endswith(".minisig")}
    assert len(signatures) == len(objects(seaweed, bucket, "refs/", monkeypatch)) / 2, "each entry has its own"
    worker.does("restore", "--verify")
    ci.does("audit")
