"""How many requests a restore makes. A change here changes a bill: docs/operations/a-start-is-slow.md."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from cas.bucket import open_bucket
from cas.formats import manifest
from cas.store.store import Store
from tests.support.buckets import HURRIED
from tests.support.in_process import call_cas
from tests.support.models import KIB, noise, put_model
from tools.servers.fault_proxy import FaultProxy

CHUNKS = 5


class Remote(NamedTuple):
    """A version of five chunks on a real S3 server, behind a proxy that counts.

    Attributes:
        proxy: counts requests.
        words: words of a command that restores from the store.
        digest: of the version, with `blake3:`.
    """

    proxy: FaultProxy
    words: list[str]
    digest: str

    def requests(self, *words: str) -> dict[str, int]:
        """Run a restore; return how many requests of each method it made, and of LIST."""
        self.proxy.requests.clear()
        done = call_cas(*self.words, *words)
        assert done.returncode == 0, done.stderr
        return dict(Counter("LIST" if "list-type=2" in one.path else one.method for one in self.proxy.requests))


@pytest.fixture
def remote(proxy: FaultProxy, s3_url: str, tmp_path: Path) -> Remote:
    store = Store(open_bucket(s3_url, HURRIED))
    made = put_model(store, {"org/m": {"model.bin": noise(CHUNKS * 64 * KIB, 1)}})
    words = ["--store", s3_url, "restore", "--cache-dir", str(tmp_path / "hub")]
    return Remote(proxy, words, manifest.digest_of(made))


def test_a_cold_restore_by_tag(remote: Remote) -> None:
    # The log of the tag is listed. The three are format.json, the tag's last entry and the manifest.
    assert remote.requests("m:latest") == {"LIST": 1, "GET": CHUNKS + 3}


def test_a_warm_restore_by_tag(remote: Remote) -> None:
    remote.requests("m:latest")
    assert remote.requests("m:latest") == {"LIST": 1, "GET": 3}


def test_a_cold_restore_by_digest(remote: Remote) -> None:
    assert remote.requests(f"m@{remote.digest}") == {"GET": CHUNKS + 2}


def test_a_receipt_is_one_more(remote: Remote) -> None:
    assert remote.requests("m:latest", "--receipt") == {"LIST": 1, "GET": CHUNKS + 3, "PUT": 1}
