"""What a server refuses to do: said at once, with the permission that is missing, and nothing half done."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas.bucket import Bucket, Kind, open_bucket
from cas.errors import AccessDenied, ObjectMissing, StoreError
from cas.store.store import Store, open_store
from tests.support.faults import OPERATIONS, visible
from tests.support.in_process import call_cas
from tests.support.models import write_tree
from tools.servers.fault_proxy import Fault, FaultProxy
from tools.servers.fault_proxy import Kind as Faulty
from tools.servers.process import free_ports
from tools.servers.seaweed import SeaweedFS


class TestRefusals:
    """A request that another try cannot cure is not tried again."""

    @pytest.mark.parametrize(
        ("operation", "permission"),
        [
            ("get", "GetObject"),
            ("head", "GetObject"),
            ("put", "PutObject"),
            ("list", "ListBucket"),
            ("delete", "DeleteObject"),
        ],
    )
    def test_forbidden(self, bucket: Bucket, proxy: FaultProxy, operation: str, permission: str) -> None:
        proxy.inject(Fault(Faulty.STATUS, status=403, code="AccessDenied", times=None))
        with pytest.raises(AccessDenied, match=f"the key needs the permission {permission}") as error:
            OPERATIONS[operation](bucket)
        assert error.value.exit_code == 6
        assert proxy.count() == (2 if operation == "head" else 1), "HEAD does not say why: GET is asked"

    @pytest.mark.parametrize(
        ("status", "code", "says"),
        [
            (403, "RequestTimeTooSkewed", "machine's clock is wrong .*: set it"),
            (400, "ExpiredToken", "fresh credentials, with their AWS_SESSION_TOKEN"),
            (400, "AuthorizationHeaderMalformed", "AWS_REGION"),
            (400, "InvalidArgument", "check the endpoint, region and bucket"),
            (301, "PermanentRedirect", "redirects elsewhere: check AWS_ENDPOINT_URL and AWS_REGION"),
        ],
    )
    @pytest.mark.parametrize("operation", ["get", "put", "list"])
    def test_other_refusals(
        self, bucket: Bucket, proxy: FaultProxy, operation: str, status: int, code: str, says: str
    ) -> None:
        proxy.inject(Fault(Faulty.STATUS, status=status, code=code, times=None))
        with pytest.raises(StoreError, match=says):
            OPERATIONS[operation](bucket)
        assert proxy.count() == (2 if status == 301 else 1), "a redirect is asked once more for the bucket's region"

    @pytest.mark.parametrize(("name", "value"), [("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x-secret-x")])
    def test_a_wrong_key(
        self, proxy: FaultProxy, s3_url: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        monkeypatch.setenv(name, value)
        with pytest.raises(AccessDenied, match="check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY") as error:
            open_store(s3_url).check_format()
        assert proxy.count() == 1
        assert "secret-x" not in str(error.value)

    def test_an_upload_that_came_too_late_is_sent_again(self, bucket: Bucket, proxy: FaultProxy) -> None:
        proxy.inject(Fault(Faulty.STATUS, method="PUT", status=400, code="RequestTimeout"))
        assert bucket.put("new", b"data", Kind.DOCUMENT) is True

    def test_a_404_of_anything_but_a_read_is_no_missing_object(self, bucket: Bucket, proxy: FaultProxy) -> None:
        proxy.inject(Fault(Faulty.STATUS, status=404, code="NoSuchThing", times=None))
        for operation in ("put", "list"):
            with pytest.raises(StoreError, match="404 NoSuchThing: check the endpoint"):
                OPERATIONS[operation](bucket)
        with pytest.raises(ObjectMissing):
            OPERATIONS["get"](bucket)


class TestIdentities:
    """Keys that lack a permission."""

    def test_a_reader_restores_but_cannot_publish(
        self, published: Store, seaweed: SeaweedFS, s3_url: str, tmp_path: Path
    ) -> None:
        before = published.bucket.list("")
        source = write_tree(tmp_path / "new", {"new.bin": b"new content"})
        access, secret = seaweed.credentials("reader")
        reader = {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret}
        restored = call_cas("--store", s3_url, "restore", "m", "--cache-dir", str(tmp_path / "hub"), env=reader)
        assert restored.returncode == 0, restored.stderr
        done = call_cas("--store", s3_url, "publish", "m", "--dir", str(source), "--as", "org/model", env=reader)
        assert (done.returncode, done.stdout) == (6, "")
        assert "access denied (403 AccessDenied" in done.stderr
        assert "the key needs the permission PutObject" in done.stderr
        assert done.stderr.count("\n") == 1
        assert published.bucket.list("") == before

    def test_a_reader_makes_no_store(self, seaweed: SeaweedFS, s3_url: str, tmp_path: Path) -> None:
        source = write_tree(tmp_path / "new", {"new.bin": b"new content"})
        reader = {key: value for key, value in seaweed.env("x", "reader").items() if key != "CAS_STORE"}
        done = call_cas("--store", s3_url, "publish", "m", "--dir", str(source), "--as", "org/model", env=reader)
        assert done.returncode == 6
        assert "create format.json" in done.stderr
        assert "PutObject" in done.stderr
        assert open_bucket(s3_url).list("") == []


class TestTheCommand:
    """Exit code 6 and one line, without a secret, whatever the network does."""

    @pytest.mark.parametrize(
        ("fault", "says"),
        [
            (Fault(Faulty.STATUS, times=None, status=403, code="AccessDenied"), "permission GetObject"),
            (Fault(Faulty.STATUS, times=None, status=403, code="RequestTimeTooSkewed"), "clock is wrong"),
            (Fault(Faulty.STATUS, times=None, status=404, code="NoSuchBucket"), "does not exist: check the name"),
            (Fault(Faulty.STATUS, times=None, status=403, code="AccessDenied", path_contains="?"), "ListBucket"),
        ],
    )
    @pytest.mark.parametrize("verbose", [False, True])
    def test_refusals(
        self, published: Store, proxy: FaultProxy, s3_url: str, tmp_path: Path, fault: Fault, says: str, verbose: bool
    ) -> None:
        proxy.inject(fault)
        more = ["-v"] if verbose else []
        done = call_cas("--store", s3_url, "restore", "m", "--cache-dir", str(tmp_path / "hub"), *more)
        assert (done.returncode, done.stdout) == (6, "")
        last = done.stderr.splitlines()[-1]
        assert last.startswith("cas: ")
        assert says in last
        assert "?" not in last
        assert verbose == ("Traceback" in done.stderr)
        assert verbose or done.stderr.count("\n") == 1
        assert "admin-secret" not in done.stderr
        assert "Signature=" not in done.stderr
        assert visible(tmp_path / "hub") == []

    def test_no_server(self, s3_url: str, tmp_path: Path) -> None:
        env = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_ports(1)[0]}"}
        done = call_cas("--store", s3_url, "restore", "m", "--cache-dir", str(tmp_path / "hub"), env=env)
        assert done.returncode == 6
        assert "refuses connections, so no connection could be made: check the endpoint and the network" in done.stderr
        assert done.stderr.count("\n") == 1
