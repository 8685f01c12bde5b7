"""A web server over TLS, for the tests that fetch audio from it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.jobs.web import AUDIO, Web, answer, make_certificate


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def web(certificate: Path) -> Iterator[Web]:
    server = Web(certificate, {"/audio": answer(AUDIO)})
    yield server
    server.stop()


@pytest.fixture
def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate)
