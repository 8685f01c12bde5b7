"""A chunk that is lost, a client that leaves, a server that ends: the right bytes or an error, never a short file."""

from __future__ import annotations

import contextlib
import http.client
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from cas import events
from cas.formats.manifest import RepoFile
from cas.ops.serve.server import HubServer, Serving
from cas.store import layout
from cas.store.store import Store
from tests.ops.serve.conftest import Served, no_publish
from tests.support.models import REPO, put_model
from tests.support.processes import until

MIB = 1 << 20
DATA = random.Random(0).randbytes(24 * MIB)
PATH = f"/{REPO}/resolve/main/weights.bin"


@pytest.fixture
def file(directory_store: Store) -> RepoFile:
    return put_model(directory_store, {REPO: {"weights.bin": DATA}}, chunk=MIB).repos[0].files[0]


@contextlib.contextmanager
def serving(store: Store, folder: Path) -> Iterator[Served]:
    reported: list[events.Event] = []
    with HubServer(store, Serving(cache=folder, cache_size=100 * MIB, port=0), no_publish, reported.append) as server:
        yield Served(store, server, reported)


@contextlib.contextmanager
def begun(served: Served) -> Iterator[tuple[http.client.HTTPConnection, http.client.HTTPResponse]]:
    """A client that has read the beginning of the file, of which the rest is on its way."""
    connection = http.client.HTTPConnection("127.0.0.1", served.server.port, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", PATH)
        answer = connection.getresponse()
        assert answer.read(1000) == DATA[:1000]
        yield connection, answer


def value(served: Served, name: str) -> float:
    (line,) = (line for line in served.ask("/metrics").body.decode().splitlines() if line.startswith(f"{name} "))
    return float(line.split()[1])


def test_a_lost_chunk_ends_the_body_early_and_its_own_range_with_an_error(
    directory_store: Store, file: RepoFile, cache: Path
) -> None:
    lost = file.chunks[20]
    directory_store.bucket.delete(layout.chunk_key(lost.digest))
    with serving(directory_store, cache) as served:
        with pytest.raises(http.client.IncompleteRead) as error:
            served.ask(PATH)
        assert error.value.partial == DATA[: len(error.value.partial)]
        answer = served.ask(PATH, headers={"Range": f"bytes={20 * MIB}-"})
        assert answer.status == 500
        assert lost.digest.encode() not in answer.body and served.store.url.encode() not in answer.body
        assert served.ask(PATH, headers={"Range": f"bytes=0-{20 * MIB - 1}"}).body == DATA[: 20 * MIB]
        assert len(served.warnings()) == 2 and all(lost.digest in text for text in served.warnings())
        assert 'cas_serve_cut_connections_total{reason="failure"} 1.0' in served.ask("/metrics").body.decode()


def test_a_client_that_leaves_takes_its_work_with_it(directory_store: Store, file: RepoFile, cache: Path) -> None:
    with serving(directory_store, cache) as served:
        with begun(served):
            assert value(served, "cas_serve_sending_files") == 1
        until(lambda: value(served, "cas_serve_sending_files") == value(served, "cas_serve_reading_files") == 0)
        assert served.ask(PATH).body == DATA
        assert served.warnings() == []


def test_a_server_that_ends_leaves_no_client_with_a_short_file(
    directory_store: Store, file: RepoFile, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cas.ops.serve.server._CLOSING_SECONDS", 0)
    with contextlib.ExitStack() as stack:
        with serving(directory_store, cache) as served:
            _, answer = stack.enter_context(begun(served))
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
    with serving(directory_store, cache) as served:
        assert served.ask(PATH, headers={"Range": "bytes=1000-"}).body == DATA[1000:]


def test_a_manifest_that_the_catalog_has_read_is_not_asked_for_again(
    directory_store: Store, file: RepoFile, cache: Path
) -> None:
    with serving(directory_store, cache) as served:
        (hosted,) = served.server.repos()
        directory_store.bucket.delete(layout.manifest_key(*hosted.version))
        assert served.ask("/health").status == 200
        assert served.ask(PATH, headers={"Range": "bytes=0-9"}).body == DATA[:10]
