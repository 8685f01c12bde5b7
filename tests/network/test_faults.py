"""What a network and a server can do to a store: the right bytes in the end, or one clear error in bounded time."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import cas
from cas.bucket import Bucket, Kind, Patience, open_bucket
from cas.bucket.patience import persist
from cas.errors import (
    AccessDenied,
    CasError,
    ChunkCorrupt,
    FormatError,
    ManifestCorrupt,
    ObjectMissing,
    Stalled,
    StoreError,
    Transient,
    Unreachable,
    Unsupported,
)
from cas.frame import Decoder
from cas.manifest import ChunkRef
from cas.refs import Reference, log_of, resolve
from cas.store import Store, chunk_key, manifest_key, open_store
from tests.conftest import HURRIED, publish_tree, read_tree, run_cas, snapshot, write_tree
from tools.child import free_ports
from tools.fault_proxy import Fault, FaultProxy
from tools.fault_proxy import Kind as Faulty
from tools.seaweed import SeaweedFS

FILES = {"model.bin": os.urandom(1 << 20), "config.json": b"{}"}
ONCE_DAMAGED = [Faulty.TRUNCATE, Faulty.SHORT_LENGTH, Faulty.BIT_FLIP, Faulty.ERROR_PAGE]
SILENT = replace(HURRIED, answer=0.3, silence=0.3, rate=10**9, attempts=2)

Verb = Callable[[Bucket], object]
VERBS: dict[str, Verb] = {
    "get": lambda bucket: bucket.get("key", limit=1 << 21),
    "head": lambda bucket: bucket.head("key"),
    "put": lambda bucket: bucket.put("new", b"data", Kind.DOCUMENT),
    "list": lambda bucket: bucket.list("folder"),
    "delete": lambda bucket: bucket.delete("key"),
}


@pytest.fixture
def bucket(proxy: FaultProxy, s3_url: str) -> Bucket:
    """Holds one object, `key`."""
    bucket = open_bucket(s3_url, HURRIED)
    bucket.put("key", FILES["model.bin"], Kind.CHUNK)
    proxy.requests.clear()
    return bucket


@pytest.fixture
def published(proxy: FaultProxy, s3_url: str, tmp_path: Path) -> Store:
    """Holds FILES as `m:latest`."""
    store = open_store(s3_url, patience=HURRIED)
    publish_tree(store, write_tree(tmp_path / "source", FILES))
    proxy.requests.clear()
    return store


def a_chunk(store: Store) -> ChunkRef:
    """The chunk of model.bin."""
    files = {file.path: file for file in resolve(store, "m").manifest.repos[0].files}
    return files["model.bin"].chunks[0]


def visible(hub: Path) -> list[str]:
    """Files of a hub cache that a client would take for real, but for blobs that are what their names say."""
    files = {path: data for path, data in read_tree(hub).items() if "/.cas/" not in path}
    return [path for path, data in files.items() if not path.startswith(".locks/") and not _is_sound_blob(path, data)]


def _is_sound_blob(path: str, data: bytes) -> bool:
    folder, _, name = path.rpartition("/")
    return folder.endswith("/blobs") and hashlib.sha256(data).hexdigest() == name


class TestDamageOnTheWay:
    """Bytes that arrive damaged once are asked for again."""

    @pytest.mark.parametrize("kind", ONCE_DAMAGED)
    def test_a_chunk_is_fetched_again(self, published: Store, proxy: FaultProxy, kind: Faulty) -> None:
        chunk = a_chunk(published)
        proxy.inject(Fault(kind, path_contains=chunk.digest))
        plain, _ = published.get_chunk(chunk, Decoder())
        assert plain == FILES["model.bin"]
        assert proxy.count("GET", chunk.digest) == 2

    @pytest.mark.parametrize("kind", ONCE_DAMAGED)
    def test_a_restore_ends_right(self, published: Store, proxy: FaultProxy, tmp_path: Path, kind: Faulty) -> None:
        proxy.inject(Fault(kind, path_contains="/chunks/", times=2))
        assert read_tree(snapshot(cas.restore("m", published, cache_dir=tmp_path / "hub"))) == FILES

    @pytest.mark.parametrize("kind", [Faulty.DROP_BEFORE, Faulty.DROP_RESPONSE, Faulty.TRUNCATE])
    def test_every_kind_of_request_survives_broken_connections(
        self, proxy: FaultProxy, s3_url: str, tmp_path: Path, kind: Faulty
    ) -> None:
        store = open_store(s3_url, patience=HURRIED)
        for after in range(0, 12, 2):
            proxy.inject(Fault(kind, after=after))
        publish_tree(store, write_tree(tmp_path / "source", FILES))
        assert read_tree(snapshot(cas.restore("m", store, cache_dir=tmp_path / "hub"))) == FILES
        assert sum(seen.fault is kind for seen in proxy.requests) == 6
        assert len(log_of(store, Reference("m", tag="latest")).names()) == 1


class TestDamageThatStays:
    """Bytes that are wrong every time end the restore, and nothing of it is to be seen."""

    @pytest.mark.parametrize("how", ["on the way", "in the bucket"])
    def test_a_chunk(self, published: Store, proxy: FaultProxy, tmp_path: Path, how: str) -> None:
        chunk = a_chunk(published)
        if how == "on the way":
            proxy.inject(Fault(Faulty.BIT_FLIP, path_contains=chunk.digest, times=None))
        else:
            frame = bytearray(published.get_frame(chunk))
            frame[len(frame) // 2] ^= 1
            published.bucket.put(chunk_key(chunk.digest), frame, Kind.CHUNK, overwrite=True)
        with pytest.raises(ChunkCorrupt, match=f"{chunk.digest} in {published.url} is corrupt .* publish") as error:
            cas.restore("m", published, cache_dir=tmp_path / "hub")
        assert error.value.exit_code == 4
        assert proxy.count("GET", chunk.digest) <= 4
        assert visible(tmp_path / "hub") == []

    def test_the_command_says_so_in_one_line(
        self, published: Store, proxy: FaultProxy, s3_url: str, tmp_path: Path
    ) -> None:
        chunk = a_chunk(published)
        proxy.inject(Fault(Faulty.BIT_FLIP, path_contains=chunk.digest, times=None))
        done = run_cas("--store", s3_url, "restore", "m", "--cache-dir", str(tmp_path / "hub"))
        assert (done.returncode, done.stdout) == (4, "")
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith(f"cas: chunk blake3:{chunk.digest} in {s3_url} is corrupt")
        assert visible(tmp_path / "hub") == []

    def test_a_web_page_is_never_taken_for_an_object(
        self, published: Store, proxy: FaultProxy, s3_url: str, tmp_path: Path
    ) -> None:
        chunk, digest = a_chunk(published), resolve(published, "m").digest
        expected: dict[str, tuple[type[CasError], str]] = {
            chunk_key(chunk.digest): (ChunkCorrupt, "an error page"),
            manifest_key("m", digest): (ManifestCorrupt, "was altered"),
            "/refs/tags/m/latest/0": (FormatError, "malformed"),
            "/format.json": (FormatError, "is this the right URL"),
        }
        for path, (kind, says) in expected.items():
            proxy.clear()
            proxy.inject(Fault(Faulty.ERROR_PAGE, method="GET", path_contains=path, times=None))
            with pytest.raises(kind, match=says):
                cas.restore("m", open_store(s3_url, patience=HURRIED), cache_dir=tmp_path / "hub")
            assert visible(tmp_path / "hub") == []

    def test_ranges_are_not_relied_upon(self, published: Store, proxy: FaultProxy, tmp_path: Path) -> None:
        proxy.inject(Fault(Faulty.IGNORE_RANGE, times=None))
        assert read_tree(snapshot(cas.restore("m", published, cache_dir=tmp_path / "hub"))) == FILES


class TestWebPages:
    """A proxy or portal that answers with a page and status 200 never makes things look absent or present."""

    def test_a_page_is_no_proof_that_an_object_is_there(self, bucket: Bucket, proxy: FaultProxy) -> None:
        proxy.inject(Fault(Faulty.ERROR_PAGE, method="HEAD"))
        assert not bucket.exists("none")
        proxy.inject(Fault(Faulty.ERROR_PAGE, method="HEAD", times=None))
        with pytest.raises(Transient, match="a web page answered"):
            bucket.exists("none")

    def test_a_page_is_no_empty_listing(self, bucket: Bucket, proxy: FaultProxy) -> None:
        bucket.put("folder/object", b"", Kind.DOCUMENT)
        proxy.inject(Fault(Faulty.ERROR_PAGE, method="GET"))
        assert [entry.key for entry in bucket.list("folder")] == ["folder/object"]
        proxy.inject(Fault(Faulty.ERROR_PAGE, method="GET", times=None))
        with pytest.raises(Transient, match="the listing is empty, though folder/object is there"):
            bucket.list("folder")

    def test_a_page_is_no_success_of_a_write(self, bucket: Bucket, proxy: FaultProxy) -> None:
        proxy.inject(Fault(Faulty.ERROR_PAGE, method="PUT"))
        assert bucket.put("new", b"data", Kind.DOCUMENT) is True
        assert bytes(bucket.get("new", 4)) == b"data"


class TestSilence:
    """No request hangs."""

    @pytest.mark.parametrize("fault", [Fault(Faulty.STALL), Fault(Faulty.TRICKLE, bytes_per_second=1000)])
    def test_a_slow_answer_is_cut_and_asked_for_again(self, bucket: Bucket, proxy: FaultProxy, fault: Fault) -> None:
        proxy.inject(fault)
        assert bucket.get("key", limit=1 << 21) == FILES["model.bin"]
        assert [seen.fault for seen in proxy.requests] == [fault.kind, None]

    @pytest.mark.parametrize("kind", [Faulty.STALL, Faulty.TRICKLE])
    def test_an_answer_that_is_always_slow(self, bucket: Bucket, proxy: FaultProxy, s3_url: str, kind: Faulty) -> None:
        proxy.inject(Fault(kind, times=None))
        began = time.monotonic()
        with pytest.raises(Stalled, match=r"key in s3://.* cut .gave up after 2 tries") as error:
            open_bucket(s3_url, SILENT).get("key", limit=1 << 21)
        assert error.value.exit_code == 6
        assert time.monotonic() - began < 5

    def test_slowness_above_the_minimum_rate_is_borne(self, bucket: Bucket, proxy: FaultProxy, s3_url: str) -> None:
        patient = replace(HURRIED, answer=1)
        proxy.inject(Fault(Faulty.TRICKLE, times=None, bytes_per_second=512 * 1024))
        began = time.monotonic()
        assert open_bucket(s3_url, patient).get("key", limit=1 << 21) == FILES["model.bin"]
        assert time.monotonic() - began > patient.answer  # a body has time by its size
        assert proxy.count("GET", "/key") == 1

    @pytest.mark.parametrize("verb", VERBS)
    def test_a_server_that_never_answers(self, verb: str, monkeypatch: pytest.MonkeyPatch, mute: Mute) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", mute.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "access")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        began = time.monotonic()
        with pytest.raises(Stalled, match=r"(key|new|folder) in s3://bucket at http://.*gave up after 2 tries"):
            VERBS[verb](open_bucket("s3://bucket", SILENT))
        assert time.monotonic() - began < 5
        mute.wait_until_closed(2)


class Mute:
    """Accepts connections and reads what comes, but never answers."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._closed = threading.Semaphore(0)
        threading.Thread(target=self._accept, daemon=True).start()

    def wait_until_closed(self, connections: int) -> None:
        """Returns when clients have closed so many connections; fails when that takes long."""
        assert all(self._closed.acquire(timeout=10) for _ in range(connections)), "a cut request keeps its connection"

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        with connection:
            try:
                while connection.recv(1 << 16):
                    pass
            except ConnectionError:
                pass
        self._closed.release()


@pytest.fixture
def mute() -> Iterator[Mute]:
    server = Mute()
    yield server
    server.close()


class TestWrites:
    """After a lost answer or a conflict the outcome is looked up, never guessed."""

    def test_a_lost_answer_is_a_success(self, bucket: Bucket, proxy: FaultProxy) -> None:
        proxy.inject(Fault(Faulty.DROP_RESPONSE, method="PUT"))
        assert bucket.put("new", b"data", Kind.DOCUMENT) is True
        assert [(seen.method, seen.status) for seen in proxy.requests] == [("PUT", 0), ("PUT", 412), ("GET", 200)]
        assert [entry.key for entry in bucket.list("")] == ["key", "new"]

    def test_a_lost_answer_hides_no_other_content(self, bucket: Bucket, proxy: FaultProxy) -> None:
        proxy.inject(Fault(Faulty.DROP_RESPONSE, method="PUT"))
        assert bucket.put("key", b"other", Kind.CHUNK) is False
        assert bucket.get("key", limit=1 << 21) == FILES["model.bin"]

    @pytest.mark.parametrize("code", ["ConditionalRequestConflict", "OperationAborted"])
    @pytest.mark.parametrize("times", [1, 5])
    @pytest.mark.parametrize("overwrite", [False, True])
    def test_conflicts_pass(self, bucket: Bucket, proxy: FaultProxy, code: str, times: int, overwrite: bool) -> None:
        proxy.inject(Fault(Faulty.STATUS, method="PUT", status=409, code=code, times=times))
        assert bucket.put("new", b"data", Kind.DOCUMENT, overwrite=overwrite) is True
        assert bytes(bucket.get("new", 4)) == b"data"

    @pytest.mark.parametrize("verb", VERBS)
    def test_seven_times_503_and_then_fine(self, bucket: Bucket, proxy: FaultProxy, verb: str) -> None:
        proxy.inject(Fault(Faulty.STATUS, status=503, code="SlowDown", retry_after=1, times=7))
        VERBS[verb](bucket)
        assert sum(seen.status == 503 for seen in proxy.requests) == 7

    def test_conditional_writes_are_refused_once(self, proxy: FaultProxy, s3_url: str, tmp_path: Path) -> None:
        """As by Backblaze B2. The rest of the publish pays nothing for it but a look before each write."""
        proxy.inject(Fault(Faulty.STATUS, status=501, code="NotImplemented", method="PUT"))
        store = open_store(s3_url, patience=HURRIED)
        files = {f"{number}.bin": os.urandom(1000) for number in range(20)}
        publish_tree(store, write_tree(tmp_path / "source", files))
        assert proxy.count("PUT") == 1 + len(store.bucket.list(""))
        assert read_tree(snapshot(cas.restore("m", store, cache_dir=tmp_path / "hub"))) == files

    def test_a_server_that_can_do_nothing(self, bucket: Bucket, proxy: FaultProxy) -> None:
        proxy.inject(Fault(Faulty.STATUS, status=501, code="NotImplemented", method="PUT", times=None))
        with pytest.raises(Unsupported, match="does not support this"):
            bucket.put("new", b"data", Kind.DOCUMENT)
        assert proxy.count("PUT") == 2


class TestGivingUp:
    """Every error comes in bounded time, and says where and what next."""

    @pytest.mark.parametrize(
        ("verb", "status"), [*((verb, 503) for verb in VERBS), ("get", 429), ("get", 500), ("put", 520)]
    )
    def test_errors_for_ever(self, bucket: Bucket, proxy: FaultProxy, verb: str, status: int) -> None:
        proxy.inject(Fault(Faulty.STATUS, status=status, code="SlowDown", times=None))
        says = rf"in s3://.* at http://127.0.0.1:\d+: the store answered {status}.*gave up after 9 tries"
        with pytest.raises(Transient, match=says) as error:
            VERBS[verb](bucket)
        assert error.value.exit_code == 6
        assert proxy.count() == HURRIED.attempts

    @pytest.mark.parametrize("verb", VERBS)
    def test_nobody_listens(self, s3_url: str, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_ports(1)[0]}")
        with pytest.raises(Unreachable, match=r"no connection could be made: check .*gave up after 5 tries"):
            VERBS[verb](open_bucket(s3_url, HURRIED))

    def test_nobody_accepts(self, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A full backlog drops further connections, as a host that is down does."""
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            callers = [socket.socket() for _ in range(3)]
            for caller in callers:
                caller.setblocking(False)
                caller.connect_ex(full.getsockname())
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{full.getsockname()[1]}")
            with pytest.raises(Unreachable, match="check the endpoint and the network"):
                open_bucket(s3_url, replace(HURRIED, connect=0.2, unreachable_attempts=2)).exists("key")
            for caller in callers:
                caller.close()

    def test_time_ends_tries_however_many_are_left(self, bucket: Bucket, proxy: FaultProxy, s3_url: str) -> None:
        proxy.inject(Fault(Faulty.STATUS, status=503, times=None))
        with pytest.raises(Transient, match=r"gave up after \d+ tries in \d s"):
            open_bucket(s3_url, replace(HURRIED, attempts=10**6, give_up=0.3)).exists("key")

    def test_pauses_grow_and_vary(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def note(seconds: float) -> None:
            pauses.append(seconds)

        async def fail(stretch: float) -> None:
            raise Transient("503")

        monkeypatch.setattr(asyncio, "sleep", note)
        drawn = []
        for _ in range(2):
            pauses: list[float] = []
            with pytest.raises(Transient):
                asyncio.run(persist(Patience(), fail))
            longest = [0.25, 0.5, 1, 2, 4, 6, 6, 6, 6]
            assert all(most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=True))
            drawn.append(pauses)
        assert drawn[0] != drawn[1]

    def test_slow_requests_get_more_time_on_the_next_try(self) -> None:
        async def stall(stretch: float) -> None:
            stretches.append(stretch)
            raise Stalled("cut")

        stretches: list[float] = []
        with pytest.raises(Stalled):
            asyncio.run(persist(replace(HURRIED, attempts=6), stall))
        assert stretches == [1, 2, 4, 8, 8, 8]


class TestRefusals:
    """What cannot be cured by asking again is not asked again."""

    @pytest.mark.parametrize(
        ("verb", "permission"),
        [
            ("get", "GetObject"),
            ("head", "GetObject"),
            ("put", "PutObject"),
            ("list", "ListBucket"),
            ("delete", "DeleteObject"),
        ],
    )
    def test_forbidden(self, bucket: Bucket, proxy: FaultProxy, verb: str, permission: str) -> None:
        proxy.inject(Fault(Faulty.STATUS, status=403, code="AccessDenied", times=None))
        with pytest.raises(AccessDenied, match=f"the key needs the permission {permission}") as error:
            VERBS[verb](bucket)
        assert error.value.exit_code == 6
        assert proxy.count() == 1

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
    @pytest.mark.parametrize("verb", ["get", "put", "list"])
    def test_other_refusals(
        self, bucket: Bucket, proxy: FaultProxy, verb: str, status: int, code: str, says: str
    ) -> None:
        proxy.inject(Fault(Faulty.STATUS, status=status, code=code, times=None))
        with pytest.raises(StoreError, match=says):
            VERBS[verb](bucket)
        assert proxy.count() == 1

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
        for verb in ("put", "list"):
            with pytest.raises(StoreError, match="404 NoSuchThing: check the endpoint"):
                VERBS[verb](bucket)
        with pytest.raises(ObjectMissing):
            VERBS["get"](bucket)


class TestIdentities:
    """Keys that may do less than is asked of them."""

    def test_a_reader_restores_but_cannot_publish(
        self, published: Store, seaweed: SeaweedFS, s3_url: str, tmp_path: Path
    ) -> None:
        before = published.bucket.list("")
        source = write_tree(tmp_path / "new", {"new.bin": b"new content"})
        access, secret = seaweed.credentials("reader")
        reader = {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret}
        restored = run_cas("--store", s3_url, "restore", "m", "--cache-dir", str(tmp_path / "hub"), env=reader)
        assert restored.returncode == 0, restored.stderr
        done = run_cas("--store", s3_url, "publish", "m", "--dir", str(source), "--as", "org/model", env=reader)
        assert (done.returncode, done.stdout) == (6, "")
        assert "access denied (403 AccessDenied" in done.stderr
        assert "the key needs the permission PutObject" in done.stderr
        assert done.stderr.count("\n") == 1
        assert published.bucket.list("") == before

    def test_a_reader_makes_no_store(self, seaweed: SeaweedFS, s3_url: str, tmp_path: Path) -> None:
        source = write_tree(tmp_path / "new", {"new.bin": b"new content"})
        reader = {key: value for key, value in seaweed.env("x", "reader").items() if key != "CAS_STORE"}
        done = run_cas("--store", s3_url, "publish", "m", "--dir", str(source), "--as", "org/model", env=reader)
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
        done = run_cas("--store", s3_url, "restore", "m", "--cache-dir", str(tmp_path / "hub"), *more)
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
        done = run_cas("--store", s3_url, "restore", "m", "--cache-dir", str(tmp_path / "hub"), env=env)
        assert done.returncode == 6
        assert "no connection could be made: check the endpoint and the network" in done.stderr
        assert done.stderr.count("\n") == 1
