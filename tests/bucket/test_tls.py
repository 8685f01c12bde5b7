"""TLS with a certificate authority of the user's own."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from cas.bucket import Bucket, open_bucket
from cas.errors import InputError, StoreError
from tests.bucket.recording import Environment
from tests.bucket.redirecting import redirecting
from tests.support.buckets import HURRIED
from tests.support.web import QuietFiles


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate authority (ca.pem) and a certificate for localhost that it signed."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no `openssl` program to make certificates with")
    folder = tmp_path_factory.mktemp("authority")
    key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    (folder / "names").write_text("subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
    for command in (
        f"req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority",
        f"req {key} -keyout server.key -out server.csr -subj /CN=localhost",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return folder


def _certified(authority: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem", authority / "server.key")
    return context


@pytest.fixture
def secure(authority: Path, tmp_path: Path) -> Iterator[Bucket]:
    """A store that a web server shows over TLS, holding `key`; not opened before its first use."""
    root = tmp_path / "web"
    root.mkdir()
    (root / "key").write_bytes(b"data")
    context = _certified(authority)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietFiles, directory=str(root))) as server:
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that do not trust it hang up
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield open_bucket(f"https://localhost:{server.server_port}", HURRIED)
        server.shutdown()
        thread.join()


class TestTLS:
    """Certificates of a private authority."""

    @pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
    def test_an_authority_can_be_named(
        self, secure: Bucket, authority: Path, monkeypatch: Environment, name: str
    ) -> None:
        monkeypatch.setenv(name, str(authority / "ca.pem"))
        assert bytes(secure.get("key", limit=4)) == b"data"
        into = bytearray(4)
        monkeypatch.setattr(secure, "get", None)  # the direct reader must succeed without obstore
        assert (secure.get_into("key", memoryview(into)), into) == (4, b"data")

    def test_strangers_are_not_trusted(self, secure: Bucket) -> None:
        with pytest.raises(StoreError, match=r"not trusted \(UnknownIssuer\).*AWS_CA_BUNDLE") as error:
            secure.get_into("key", memoryview(bytearray(4)))
        assert "tries" not in str(error.value)

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (None, "cannot be read: No such file"),
            (b"", "holds certificates"),
            (b"not PEM", "holds certificates"),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds certificates"),
        ],
    )
    def test_a_bundle_that_cannot_be_used(
        self, secure: Bucket, tmp_path: Path, monkeypatch: Environment, content: bytes | None, says: str
    ) -> None:
        bundle = tmp_path / "bundle.pem"
        if content is not None:
            bundle.write_bytes(content)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
        with pytest.raises(InputError, match=f"AWS_CA_BUNDLE {bundle} {says}"):
            secure.get("key", limit=4)


def test_authorities_that_are_nowhere(secure: Bucket, tmp_path: Path, monkeypatch: Environment) -> None:
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(InputError, match=r"SSL_CERT_FILE .*none.pem does not exist"):
        secure.get("key", limit=4)


def test_https_redirects_to_https_alone(authority: Path, monkeypatch: Environment) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority / "ca.pem"))
    context = _certified(authority)
    with redirecting(context) as store, redirecting(context) as secured, redirecting() as open_to_all:
        bucket = open_bucket(store.at("localhost", "https"), HURRIED)
        store.location = secured.at("localhost", "https")
        assert bytes(bucket.get("key", limit=4)) == b"data"
        for host in ("localhost", "127.0.0.1"):
            store.location = open_to_all.at(host)
            with pytest.raises(StoreError, match="redirects elsewhere"):
                bucket.get("key", limit=4)
            with pytest.raises(StoreError, match="redirects elsewhere"):
                bucket.get_into("key", memoryview(bytearray(4)))
        assert open_to_all.requests == []
