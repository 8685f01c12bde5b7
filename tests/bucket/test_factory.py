"""From the user's standard variables to signed requests: what a server really receives."""

from __future__ import annotations

import datetime
import json
import re
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cas.bucket import Bucket, Kind, open_bucket
from cas.errors import AccessDenied, InputError, ObjectMissing, StoreError
from tests.bucket.test_bucket import _Quiet
from tests.support.buckets import HURRIED
from tools.servers.seaweed import SeaweedFS

Environment = pytest.MonkeyPatch


class Request(NamedTuple):
    """A request as the server received it. headers: by lower-case name."""

    method: str
    target: str
    headers: dict[str, str]

    @property
    def region(self) -> str:
        """The region that the request was signed for."""
        found = re.search(r"Credential=[^/]+/\d{8}/([^/]+)/s3/aws4_request", self.headers["authorization"])
        assert found
        return found[1]


class Recorder(ThreadingHTTPServer):
    """An S3 server, or a proxy before one, that records the requests and stores nothing."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Recording)
        self.requests: list[Request] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Recording(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Recorder)
        headers = {name.lower(): value for name, value in self.headers.items()}
        server.requests.append(Request(self.command, self.path, headers))
        self.rfile.read(int(headers.get("content-length", 0)))
        body = b"" if self.command in ("PUT", "HEAD") else b"<Error><Code>NoSuchKey</Code></Error>"
        self.send_response_only({"PUT": 200, "CONNECT": 502}.get(self.command, 404))
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_PUT = do_CONNECT = do_GET  # noqa: N815 (as http.server has it)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: Environment) -> None:
    """No proxy or certificate of the person who runs the tests reaches them."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)


@pytest.fixture
def recorder(monkeypatch: Environment) -> Iterator[Recorder]:
    """The server at AWS_ENDPOINT_URL; the variables of the key are set, too."""
    with Recorder() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the-key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret")
        yield server
        server.shutdown()
        thread.join()


def asked(recorder: Recorder, url: str = "s3://bucket/prefix") -> Request:
    """What the server receives when `key` is read."""
    with pytest.raises(ObjectMissing):
        open_bucket(url, HURRIED).get("key", limit=1)
    return recorder.requests[-1]


class TestVariables:
    """The variables that every S3 client knows."""

    def test_plain_keys(self, recorder: Recorder) -> None:
        request = asked(recorder)
        assert request.target == "/bucket/prefix/key"  # path style: a custom endpoint has no name per bucket
        assert "Credential=the-key/" in request.headers["authorization"]
        assert request.region == "us-east-1"
        assert "x-amz-security-token" not in request.headers

    @pytest.mark.parametrize(
        ("url", "target"),
        [
            ("s3://bucket", "/bucket/key"),
            ("s3://bucket/", "/bucket/key"),
            ("s3://bucket/a/b/", "/bucket/a/b/key"),
            ("s3://bucket//a", "/bucket/a/key"),
        ],
    )
    def test_prefixes(self, recorder: Recorder, url: str, target: str) -> None:
        assert asked(recorder, url).target == target

    @pytest.mark.parametrize("url", ["s3://", "s3:///prefix", "s3://key:secret@bucket/x", "s3://bucket/x?token=secret"])
    def test_urls_that_say_more_or_less(self, recorder: Recorder, url: str) -> None:
        with pytest.raises(InputError, match="write s3://bucket/prefix and nothing else") as error:
            open_bucket(url)
        assert "secret" not in str(error.value)

    def test_a_session_token_is_sent(self, recorder: Recorder, monkeypatch: Environment) -> None:
        monkeypatch.setenv("AWS_SESSION_TOKEN", "the-token")
        assert asked(recorder).headers["x-amz-security-token"] == "the-token"

    def test_the_service_s_own_endpoint_wins(self, recorder: Recorder, monkeypatch: Environment) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", recorder.url + "/")
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        assert asked(recorder).target == "/bucket/prefix/key"

    @pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_PROFILE"])
    def test_empty_variables_are_as_good_as_none(self, recorder: Recorder, monkeypatch: Environment, name: str) -> None:
        monkeypatch.setenv(name, "")
        assert asked(recorder).region == "us-east-1"

    @pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
    def test_a_region(self, recorder: Recorder, monkeypatch: Environment, name: str) -> None:
        monkeypatch.setenv(name, "eu-west-7")
        assert asked(recorder).region == "eu-west-7"

    @pytest.mark.parametrize(
        ("host", "region"),
        [
            ("s3.us-west-004.backblazeb2.com", "us-west-004"),
            ("s3.eu-central-1.amazonaws.com", "eu-central-1"),
            ("s3-eu-central-1.amazonaws.com", "eu-central-1"),
            ("s3.dualstack.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
            ("s3-fips.us-east-2.amazonaws.com", "us-east-2"),
            ("account.r2.cloudflarestorage.com", "auto"),
            ("s3.ap-northeast-1.wasabisys.com", "ap-northeast-1"),
            ("s3.wasabisys.com", "us-east-1"),
            ("fra1.digitaloceanspaces.com", "fra1"),
            ("s3.my-company.example", "us-east-1"),
            ("minio", "us-east-1"),
        ],
    )
    def test_a_region_in_the_host_s_name(
        self, recorder: Recorder, monkeypatch: Environment, host: str, region: str
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}")
        monkeypatch.setenv("HTTP_PROXY", recorder.url)
        request = asked(recorder)
        assert request.target == f"http://{host}/bucket/prefix/key"
        assert request.region == region

    def test_backblaze_is_never_asked_for_a_conditional_write(
        self, recorder: Recorder, monkeypatch: Environment
    ) -> None:
        for host, methods in (("s3.us-west-004.backblazeb2.com", ["GET", "PUT"]), ("minio", ["PUT"])):
            recorder.requests.clear()
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}")
            monkeypatch.setenv("HTTP_PROXY", recorder.url)
            open_bucket("s3://bucket", HURRIED).put("key", b"", Kind.DOCUMENT)
            assert [request.method for request in recorder.requests] == methods
            assert ("if-none-match" in recorder.requests[-1].headers) == (methods == ["PUT"])

    @pytest.mark.parametrize("endpoint", [None, ""])
    def test_without_an_endpoint_it_is_amazon_s(
        self, recorder: Recorder, monkeypatch: Environment, endpoint: str | None
    ) -> None:
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        if endpoint is not None:
            monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        monkeypatch.setenv("AWS_REGION", "eu-west-7")
        monkeypatch.setenv("HTTPS_PROXY", recorder.url)
        with pytest.raises(StoreError):
            open_bucket("s3://bucket/prefix", HURRIED).get("key", limit=1)
        assert recorder.requests[-1].method == "CONNECT"
        assert recorder.requests[-1].target == "bucket.s3.eu-west-7.amazonaws.com:443"

    def test_hosts_that_need_no_proxy(self, recorder: Recorder, monkeypatch: Environment) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert asked(recorder).target == "/bucket/prefix/key"

    @pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
    @pytest.mark.parametrize("endpoint", ["s3.example.com", "s3.example.com:9000", "ftp://host", "https://"])
    def test_an_endpoint_without_its_scheme(
        self, recorder: Recorder, monkeypatch: Environment, name: str, endpoint: str
    ) -> None:
        monkeypatch.setenv(name, endpoint)
        with pytest.raises(InputError, match=f"{name}: write https:// and the host"):
            open_bucket("s3://bucket")

    @pytest.mark.parametrize("url", ["http://user:secret@host/x", "http://host/x?token=secret", "http://host/#secret"])
    def test_addresses_carry_no_secrets(self, recorder: Recorder, monkeypatch: Environment, url: str) -> None:
        with pytest.raises(InputError, match="no user, password or query") as as_store:
            open_bucket(url)
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(
            InputError, match=r"AWS_ENDPOINT_URL http://host.*no user, password or query"
        ) as as_endpoint:
            open_bucket("s3://bucket")
        assert "secret" not in f"{as_store.value} {as_endpoint.value}"


class TestCredentials:
    """Credentials from the variables, else from where boto3 finds them."""

    @pytest.mark.parametrize(
        ("only", "missing"),
        [("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")],
    )
    def test_one_of_two(self, monkeypatch: Environment, only: str, missing: str) -> None:
        monkeypatch.setenv(only, "half-a-secret")
        with pytest.raises(AccessDenied, match=f"{missing} is not set") as error:
            open_bucket("s3://bucket")
        assert "half-a-secret" not in str(error.value)

    def test_none(self) -> None:
        with pytest.raises(AccessDenied, match="no S3 credentials: set AWS_ACCESS_KEY_ID"):
            open_bucket("s3://bucket")

    def test_a_profile(self, seaweed: SeaweedFS, s3_url: str, tmp_path: Path, monkeypatch: Environment) -> None:
        access, secret = seaweed.credentials()
        (tmp_path / "credentials").write_text(
            f"[default]\naws_access_key_id = x\naws_secret_access_key = x\n"
            f"[work]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n"
        )
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
        monkeypatch.setenv("AWS_PROFILE", "work")
        bucket = open_bucket(s3_url, HURRIED)
        bucket.put("key", b"data", Kind.DOCUMENT)
        assert bytes(bucket.get("key", 4)) == b"data"
        monkeypatch.setenv("AWS_PROFILE", "default")
        with pytest.raises(AccessDenied, match="InvalidAccessKeyId"):
            open_bucket(s3_url, HURRIED).get("key", 4)
        monkeypatch.setenv("AWS_PROFILE", "none")
        with pytest.raises(AccessDenied, match=r"profile .none. could not be found"):
            open_bucket(s3_url)

    def test_a_profile_s_endpoint(
        self, seaweed: SeaweedFS, s3_url: str, tmp_path: Path, monkeypatch: Environment
    ) -> None:
        access, secret = seaweed.credentials()
        (tmp_path / "config").write_text(
            f"[profile work]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n"
            f"endpoint_url = {seaweed.endpoint}\n"
        )
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_PROFILE", "work")
        open_bucket(s3_url, HURRIED).put("key", b"data", Kind.DOCUMENT)
        assert bytes(open_bucket(s3_url, HURRIED).get("key", 4)) == b"data"

    def test_a_profile_s_token_and_region(self, recorder: Recorder, tmp_path: Path, monkeypatch: Environment) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        _process(tmp_path, "", monkeypatch)
        request = asked(recorder)
        assert request.headers["x-amz-security-token"] == "process-token"
        assert request.region == "eu-west-7"

    def test_credentials_that_cannot_be_renewed(
        self, recorder: Recorder, tmp_path: Path, monkeypatch: Environment
    ) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        _process(tmp_path, f"[ -e {tmp_path}/used ] && echo 'please log in' >&2 && exit 1; touch {tmp_path}/used",
                 monkeypatch)  # fmt: skip
        bucket = open_bucket("s3://bucket", HURRIED)
        with pytest.raises(AccessDenied, match=r"please log in.*: log in again, or check AWS_PROFILE"):
            bucket.get("key", limit=1)
        assert recorder.requests == []


def _process(folder: Path, first: str, monkeypatch: Environment) -> None:
    """Set a profile whose credentials a program prints, after the shell commands `first`; they expire soon."""
    expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=1)
    document = {"Version": 1, "AccessKeyId": "k", "SecretAccessKey": "s", "SessionToken": "process-token",
                "Expiration": expires.isoformat()}  # fmt: skip
    program = folder / "credentials.sh"
    program.write_text(f"#!/bin/sh\n{first}\necho '{json.dumps(document)}'\n")
    program.chmod(0o700)
    (folder / "config").write_text(f"[profile work]\ncredential_process = {program}\nregion = eu-west-7\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    monkeypatch.setenv("AWS_PROFILE", "work")


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


@pytest.fixture
def secure(authority: Path, tmp_path: Path) -> Iterator[Bucket]:
    """A store that a web server shows over TLS, holding `key`; not opened before its first use."""
    root = tmp_path / "web"
    root.mkdir()
    (root / "key").write_bytes(b"data")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem", authority / "server.key")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(root))) as server:
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

    @pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "SSL_CERT_FILE"])
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
