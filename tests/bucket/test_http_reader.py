"""Bodies read straight into memory: used while all is well, and left to obstore when anything is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import cas
from cas.bucket import Bucket, open_bucket
from cas.bucket.http import reader
from cas.bucket.http.reader import DirectReader, is_proxied
from cas.errors import AccessDenied, ObjectMissing, ObjectTooLarge
from cas.store.store import Store
from tests.support.buckets import HURRIED
from tests.support.faults import FILES, Mute, Reset
from tests.support.models import read_tree, snapshot
from tests.support.processes import until
from tools.servers.fault_proxy import Fault, FaultProxy
from tools.servers.fault_proxy import Kind as Faulty

CONTENT = FILES["model.bin"]
BUFFER_SIZE = len(CONTENT) + 1000


def read(bucket: Bucket, key: str = "key", buffer_size: int = BUFFER_SIZE) -> bytes:
    into = bytearray(b"\xff" * buffer_size)
    size = bucket.get_into(key, memoryview(into))
    assert into[size:] == b"\xff" * (buffer_size - size), "written behind the end"
    return bytes(into[:size])


def direct(proxy: FaultProxy) -> list[bool]:
    """Whether the direct reader sent each GET: the signature is in the URL then."""
    return ["X-Amz-Signature=" in seen.path for seen in proxy.requests if seen.method == "GET"]


class TestTheUsualCase:
    def test_one_request_for_a_body(self, bucket: Bucket, proxy: FaultProxy) -> None:
        assert [read(bucket) for _ in range(3)] == [CONTENT] * 3
        assert direct(proxy) == [True] * 3

    def test_a_restore_takes_its_chunks_so(self, published: Store, proxy: FaultProxy, tmp_path: Path) -> None:
        assert read_tree(snapshot(cas.restore("m", published, cache_dir=tmp_path / "hub"))) == FILES
        chunks = [seen.path for seen in proxy.requests if "/chunks/" in seen.path]
        assert len(chunks) == 2
        assert all("X-Amz-Signature=" in path for path in chunks)

    def test_room_to_spare_and_none(self, bucket: Bucket) -> None:
        assert read(bucket, buffer_size=len(CONTENT)) == CONTENT
        with pytest.raises(ObjectTooLarge):
            read(bucket, buffer_size=len(CONTENT) - 1)

    def test_absence_is_told_as_ever(self, bucket: Bucket) -> None:
        with pytest.raises(ObjectMissing):
            read(bucket, "absent")

    def test_every_kind_of_bucket(self, any_bucket: Bucket) -> None:
        from cas.bucket import Kind

        any_bucket.put("chunks/ab", CONTENT, Kind.CHUNK)
        assert read(any_bucket, "chunks/ab") == CONTENT
        with pytest.raises(ObjectTooLarge):
            read(any_bucket, "chunks/ab", buffer_size=10)
        with pytest.raises(ObjectMissing):
            read(any_bucket, "chunks/cd")


class TestOutOfTheOrdinary:
    @pytest.mark.parametrize(
        "fault",
        [
            Fault(Faulty.STATUS, status=503),
            Fault(Faulty.STATUS, status=500, code="InternalError"),
            Fault(Faulty.STATUS, status=302, code="Found"),
            Fault(Faulty.TRUNCATE),
            Fault(Faulty.STALL),
            Fault(Faulty.TRICKLE),
        ],
        ids=lambda fault: f"{fault.kind.value}-{fault.status}",
    )
    def test_obstore_asks_again(self, bucket: Bucket, proxy: FaultProxy, fault: Fault) -> None:
        proxy.inject(replace(fault, path_contains="X-Amz-Signature="))
        assert read(bucket) == CONTENT
        assert direct(proxy)[:2] == [True, False]

    def test_refusals_are_explained_by_obstore(self, bucket: Bucket, proxy: FaultProxy) -> None:
        proxy.inject(Fault(Faulty.STATUS, status=403, code="AccessDenied", times=None))
        with pytest.raises(AccessDenied, match="the key needs the permission GetObject"):
            read(bucket)
        assert direct(proxy) == [True, False]

    def test_after_trouble_it_rests(self, bucket: Bucket, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reader, "_REST", 60.0)
        proxy.inject(Fault(Faulty.STATUS, status=503))
        assert [read(bucket) for _ in range(3)] == [CONTENT] * 3
        assert direct(proxy) == [True, False, False, False]

    def test_it_comes_back(self, bucket: Bucket, proxy: FaultProxy) -> None:
        proxy.inject(Fault(Faulty.STATUS, status=503))
        assert read(bucket) == CONTENT
        until(lambda: read(bucket) == CONTENT and direct(proxy)[-1])

    def test_a_connection_that_was_closed_while_idle_is_opened_anew(self, bucket: Bucket, proxy: FaultProxy) -> None:
        assert read(bucket) == CONTENT
        proxy.inject(Fault(Faulty.DROP_BEFORE, path_contains="X-Amz-Signature="))
        assert read(bucket) == CONTENT
        assert direct(proxy) == [True, True, True]

    def test_a_body_that_takes_unusually_long_is_left(self, proxy: FaultProxy, bucket: Bucket, s3_url: str) -> None:
        # This policy waits for ten minutes, so only the usual time of a body can tell that this one hangs.
        patient = open_bucket(s3_url, replace(HURRIED, answer=600, silence=600))
        for _ in range(3):
            assert read(patient) == CONTENT
        proxy.inject(Fault(Faulty.STALL))
        assert read(patient) == CONTENT
        assert direct(proxy)[-2:] == [True, False]

    def test_a_silent_server(self, mute: Mute) -> None:
        direct_reader = DirectReader(lambda key: f"{mute.url}/{key}", replace(HURRIED, silence=0.2))
        assert direct_reader.read("key", memoryview(bytearray(10))) is None
        mute.wait_until_closed(1)

    @pytest.mark.parametrize(("seconds", "expected"), [(0, 2), (0.3, 1)])
    def test_past_its_deadline_no_connection_is_opened_anew(self, seconds: float, expected: int) -> None:
        server = Reset(seconds)
        try:
            direct_reader = DirectReader(lambda key: f"{server.url}/{key}", replace(HURRIED, answer=0.2, silence=5))
            assert direct_reader.read("key", memoryview(bytearray(10))) is None
            assert server.accepted == expected
        finally:
            server.close()

    @pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "https://127.0.0.1:1/", "http://no-such-host.invalid/"])
    def test_no_server(self, url: str) -> None:
        assert DirectReader(lambda key: url + key, HURRIED).read("key", memoryview(bytearray(10))) is None

    def test_a_failing_signature(self) -> None:
        def locate(key: str) -> str:
            raise RuntimeError("no credentials any more")

        assert DirectReader(locate, HURRIED).read("key", memoryview(bytearray(10))) is None


class TestProxies:
    """Only obstore talks to proxies."""

    @pytest.mark.parametrize(
        ("variables", "expected"),
        [
            ({}, True),
            ({"https_proxy": "http://proxy:3128"}, False),
            ({"HTTPS_PROXY": "http://proxy:3128"}, False),
            ({"http_proxy": "http://proxy:3128"}, True),
            ({"all_proxy": "http://proxy:3128"}, False),
            ({"https_proxy": "http://proxy:3128", "no_proxy": "example.com"}, True),
            ({"https_proxy": "http://proxy:3128", "no_proxy": "elsewhere.com"}, False),
        ],
    )
    def test_variables(self, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: bool) -> None:
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert is_proxied(urlsplit("https://s3.example.com/key")) is not expected


@pytest.fixture(params=["memory", "directory", "s3", "http"])
def any_bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Bucket:
    if request.param == "memory":
        return open_bucket("memory:")
    if request.param == "directory":
        return open_bucket(str(tmp_path / "store"))
    if request.param == "http":
        return _over_http(tmp_path / "web", request)
    opened: Bucket = request.getfixturevalue("bucket")
    return opened


def _over_http(root: Path, request: pytest.FixtureRequest) -> Bucket:
    """A bucket that writes to a directory and reads it over http."""
    from functools import partial

    from tests.support.web import QuietFiles
    from tools.servers.serving import ClosableServer

    class KeepAlive(QuietFiles):
        protocol_version = "HTTP/1.1"

    root.mkdir()
    server = ClosableServer(("127.0.0.1", 0), partial(KeepAlive, directory=str(root)))  # type: ignore[arg-type]
    server.start()
    request.addfinalizer(server.stop)
    bucket = open_bucket(f"http://127.0.0.1:{server.port}", HURRIED)
    bucket.put = open_bucket(str(root)).put  # type: ignore[method-assign]
    return bucket
