"""The real S3 server: its identities, and that it keeps what it has acknowledged."""

import http.client
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.servers import seaweed
from tools.servers.process import free_ports, spawn
from tools.servers.seaweed import Certificate, SeaweedError, SeaweedFS
from tools.servers.sigv4 import Answer, s3_request


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate | None:
    """One for 127.0.0.1 that vouches for itself."""
    if shutil.which("openssl") is None:
        return None
    folder = tmp_path_factory.mktemp("certificate")
    made = Certificate(folder / "chain.pem", folder / "key.pem")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test"
    names = f"-addext subjectAltName=IP:127.0.0.1 -keyout {made.key} -out {made.chain}"
    subprocess.run(f"{command} {names}".split(), check=True, capture_output=True)
    return made


@pytest.fixture(scope="module")
def server(certificate: Certificate | None) -> Iterator[SeaweedFS]:
    with SeaweedFS(certificate=certificate) as server:
        server.create_bucket("models")
        yield server


def request(server: SeaweedFS, identity: str, method: str, path: str, body: bytes = b"") -> Answer:
    return s3_request(method, server.endpoint, path, *server.credentials(identity), body)


def test_identities_may_do_what_they_are_for(server: SeaweedFS) -> None:
    steps = ("PUT", "/models/a b"), ("GET", "/models/a b"), ("DELETE", "/models/a b"), ("PUT", "/other")
    may = {
        identity: [request(server, identity, *step).status < 300 for step in steps]
        for identity in ("publisher", "writer", "reader", "admin")
    }
    assert may == {
        "publisher": [True, True, True, False],
        "writer": [True, True, False, False],
        "reader": [False, True, False, False],
        "admin": [True, True, True, True],
    }
    assert s3_request("GET", server.endpoint, "/models", "admin-access", "wrong").status == 403


def test_env_points_to_the_bucket(server: SeaweedFS) -> None:
    env = server.env("models", "reader")
    answer = s3_request(
        "GET", env["AWS_ENDPOINT_URL"], "/models", env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"]
    )
    assert answer.status == 200
    assert env["CAS_STORE"] == "s3://models/cas"
    with pytest.raises(KeyError):
        server.env("models", "nobody")
    with pytest.raises(SeaweedError, match="models"):
        server.create_bucket("models")


def test_a_bucket_is_deleted_with_what_is_in_it(server: SeaweedFS) -> None:
    server.create_bucket("short-lived")
    assert request(server, "admin", "PUT", "/short-lived/object", b"data").status == 200
    server.delete_bucket("short-lived")
    assert request(server, "admin", "GET", "/short-lived/object").status == 404
    with pytest.raises(SeaweedError, match="short-lived"):
        server.delete_bucket("short-lived")


def test_tls_beside_plain_http(server: SeaweedFS, certificate: Certificate | None) -> None:
    if certificate is None:
        pytest.skip("there is no `openssl` program to make a certificate with")
    trusting = ssl.create_default_context(cafile=str(certificate.chain))
    connection = http.client.HTTPSConnection("127.0.0.1", server.tls_port, context=trusting)
    connection.request("GET", "/models")
    assert connection.getresponse().status == 403  # for strangers
    connection.close()
    assert request(server, "admin", "GET", "/models").status == 200


def test_objects_survive_a_kill(server: SeaweedFS) -> None:
    content = os.urandom(9 << 20)
    assert request(server, "admin", "PUT", "/models/large", content).status == 200
    server.kill()
    with pytest.raises(OSError, match="refused"):
        request(server, "admin", "GET", "/models/large")
    server.restart()
    assert request(server, "admin", "GET", "/models/large").body == content
    assert request(server, "admin", "PUT", "/models/new", b"new").status == 200


def test_the_error_shows_the_end_of_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "weed"
    program.write_text("#!/bin/sh\necho 'the disk is on fire'; exit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(seaweed, "_weed", lambda: str(program))
    with pytest.raises(SeaweedError, match=r"exit code 3(.|\n)*the disk is on fire"), SeaweedFS(tmp_path):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children that their parent died")
def test_children_die_with_their_parent(tmp_path: Path) -> None:
    pipe, log = tmp_path / "pipe", tmp_path / "log"
    os.mkfifo(pipe)
    script = "import os, sys, pathlib; from tools.servers.process import spawn; "
    script += "spawn(['/bin/sh', '-c', f'exec 3>{sys.argv[1]}; echo ready >&3; exec sleep 600'], "
    script += "pathlib.Path(sys.argv[2])); sys.stdin.read(); os.kill(os.getpid(), 9)"
    parent = subprocess.Popen([sys.executable, "-c", script, str(pipe), str(log)], stdin=subprocess.PIPE)
    with parent, pipe.open() as child:
        assert child.readline() == "ready\n"
        assert parent.stdin is not None
        parent.stdin.close()
        assert child.read() == ""  # the other end is closed: the child has ended
    assert parent.returncode == -9


def test_spawn_reports_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        spawn(["/bin/true"], tmp_path / "none" / "log")


def test_free_ports_are_all_different() -> None:
    assert len(set(free_ports(50))) == 50
