"""A hub cache as a flat sync leaves it in a bucket or folder: every symlink replaced by what it points to."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import boto3

from tests.support.in_process import call_cas
from tests.support.models import REPO, write_tree

FOLDER = f"hub/models--{REPO.replace('/', '--')}"

Files = Mapping[str, bytes]


def flatten(cache: Path, *, without: str = "") -> dict[str, bytes]:
    """Return the objects that a sync of a hub cache makes, by key. without: a folder of each repo to leave out."""
    found = {}
    for parent, _, names in os.walk(cache, followlinks=True):
        for name in names:
            path = Path(parent, name)
            key = f"hub/{path.relative_to(cache).as_posix()}"
            if not without or f"/{without}/" not in key:
                found[key] = path.read_bytes()
    return found


@dataclass
class Flat:
    """A bucket or folder that a sync wrote to, and a store to import into.

    Attributes:
        source: the URL of the bucket, or the folder.
        store: the URL of the store.
        home: a folder for the hub cache of the user.
    """

    source: str
    store: str
    home: Path

    def put(self, files: Files) -> None:
        """Write objects into the source, by key."""
        if not self.source.startswith("s3://"):
            write_tree(Path(self.source), files)
            return
        client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
        for key, data in files.items():
            client.put_object(Bucket=urlsplit(self.source).netloc, Key=f"models/{key}", Body=data)

    def objects(self) -> dict[str, bytes]:
        """Return the objects of the source, by key."""
        if not self.source.startswith("s3://"):
            root = Path(self.source)
            return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
        bucket = urlsplit(self.source).netloc
        keys = [one["Key"] for one in client.list_objects_v2(Bucket=bucket, Prefix="models/").get("Contents", ())]
        return {key.removeprefix("models/"): client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}

    def run(self, *words: str, model: str | None = "m", **env: str) -> subprocess.CompletedProcess[str]:
        """Run `cas import-flat` on the source. model: the name to publish it by; None to give none."""
        variables = {"CAS_STORE": self.store, "HF_HUB_CACHE": str(self.home / "user"), "HF_HUB_OFFLINE": "1"}
        return call_cas("import-flat", self.source, *([model] if model else ()), *words, env={**variables, **env})
