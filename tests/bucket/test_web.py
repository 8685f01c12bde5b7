"""A store that a plain web server shows is read over http, and refuses to be written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from cas.bucket import Kind, open_bucket
from cas.errors import (
    ObjectMissing,
    Unsupported,
)
from tests.support.buckets import HURRIED
from tests.support.web import QuietFiles
from tools.servers.hub import Hub


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A plain web server and the folder that it serves."""
    root = tmp_path / "web"
    root.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietFiles, directory=str(root))) as server:
        server.daemon_threads = True  # connections are kept alive by the client
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/store", root / "store"
        server.shutdown()
        thread.join()


class TestWeb:
    """A store that a plain web server shows."""

    def test_objects_can_be_read(self, web: tuple[str, Path]) -> None:
        url, folder = web
        open_bucket(str(folder)).put("chunks/aa/x", b"data" * 1000, Kind.CHUNK)
        for address in (url, url + "/"):
            bucket = open_bucket(address, HURRIED)
            assert bytes(bucket.get("chunks/aa/x", limit=4000)) == b"data" * 1000
            assert bucket.head("chunks/aa/x").size == 4000
            assert not bucket.exists("chunks/aa/y")
            with pytest.raises(ObjectMissing):
                bucket.get("chunks/aa/y", limit=1)

    def test_parts_are_read_from_a_server_that_knows_ranges(self, tmp_path: Path) -> None:
        (tmp_path / "root/org/model").mkdir(parents=True)
        (tmp_path / "root/org/model/key").write_bytes(b"0123456789")
        with Hub(tmp_path / "root") as hub:
            bucket = open_bucket(f"{hub.url}/org/model/resolve/main", HURRIED)
            part = bucket.get_range("key", 3, 4)
        assert (bytes(part.data), part.size) == (b"3456", 10)

    def test_a_server_that_knows_no_ranges_is_told_from_one_that_does(self, web: tuple[str, Path]) -> None:
        url, folder = web
        open_bucket(str(folder)).put("key", b"0123456789", Kind.CHUNK)
        with pytest.raises(Unsupported, match="key"):
            open_bucket(url, HURRIED).get_range("key", 3, 4)

    def test_writing_and_listing_are_refused_with_the_way_out(self, web: tuple[str, Path]) -> None:
        bucket = open_bucket(web[0], HURRIED)
        for ask in (
            lambda: bucket.put("key", b"", Kind.DOCUMENT),
            lambda: bucket.put("key", b"", Kind.DOCUMENT, overwrite=True),
            lambda: bucket.list("refs"),
            lambda: bucket.delete("key"),
        ):
            with pytest.raises(Unsupported, match=r"read only over https: use its s3:// URL .*model@blake3"):
                ask()
