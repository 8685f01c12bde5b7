"""One server for many assertions: a store of two repos, and a server over it in this process."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from cas import events
from cas.formats.manifest import RepoFile
from cas.ops.serve.server import HubServer, Serving
from cas.refs.reference import Reference, log_of
from cas.store.store import Store, open_store
from tests.ops.serve.readers import CHUNK, DATA
from tests.support.models import KIB, REPO, noise, put_model

FILES = {
    "config.json": b'{"a": 1}',
    "empty.txt": b"",
    "onnx/deep/model.onnx": b"onnx" * 1000,
    "weights.bin": noise(300 * KIB, 1),
}
DATASET = {"train.csv": b"a,b\n1,2\n"}
REPOS = {"org/model": FILES, "bare": {"vocab.txt": b"a\nb\n"}}


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The JSON document of the body."""
        return json.loads(self.body)


class Served:
    """A server in this process, the store behind it, and what it reported."""

    def __init__(self, store: Store, server: HubServer, reported: list[events.Event]) -> None:
        self.store, self.server, self.reported = store, server, reported

    def ask(
        self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, names, answer.read())
        finally:
            connection.close()

    def warnings(self) -> list[str]:
        """The warnings so far."""
        return [event.text for event in self.reported if isinstance(event, events.Warned)]


def put_dataset(store: Store) -> None:
    """Store DATASET as a dataset that has the id of a model."""
    made = put_model(store, {"org/model": DATASET}, model="d")
    dataset = msgspec.structs.replace(made.repos[0], repo_type="dataset")
    log_of(store, Reference("d", tag="latest")).append(
        store.put_manifest(msgspec.structs.replace(made, repos=(dataset,))), reason="test"
    )


def no_publish(pulled: object) -> str:
    """Stand in for a publish where there is no upstream hub."""
    raise AssertionError(f"{pulled} is published without an upstream hub")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server over a store of REPOS, for all tests of a module."""
    folder = tmp_path_factory.mktemp("served")
    store = open_store(str(folder / "store"))
    put_model(store, REPOS)
    put_dataset(store)
    reported: list[events.Event] = []
    serving = Serving(cache=folder / "cache", cache_size=10 << 20, port=0)
    with HubServer(store, serving, no_publish, reported.append) as server:
        yield Served(store, server, reported)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The folder of a server's cache."""
    return tmp_path / "cache"


@pytest.fixture
def local(directory_store: Store) -> tuple[Store, RepoFile]:
    """A store in a directory, for what does not depend on a server."""
    return directory_store, put_model(directory_store, {REPO: {"w": DATA}}, chunk=CHUNK).repos[0].files[0]
