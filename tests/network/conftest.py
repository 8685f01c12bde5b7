"""A proxy that makes requests fail, between this process and the real S3 server."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tools.fault_proxy import FaultProxy
from tools.seaweed import SeaweedFS


@pytest.fixture
def proxy(seaweed: SeaweedFS, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """Stands in front of the bucket of `s3_url`: clients opened from now on go through it."""
    address = urlsplit(seaweed.endpoint)
    assert address.hostname and address.port
    with FaultProxy(address.hostname, address.port, credentials=seaweed.credentials()) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy
