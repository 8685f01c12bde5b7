"""What a network and a server can do to a store: the right bytes in the end, or one clear error in bounded time."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

import cas
from cas.bucket import Bucket, Kind, RetryPolicy, open_bucket
from cas.bucket.retry import retry
from cas.errors import (
    CasError,
    ChunkCorrupt,
    FormatError,
    ManifestCorrupt,
    Stalled,
    Transient,
    Unreachable,
    Unsupported,
)
from cas.formats.frame import Decoder
from cas.refs.reference import Reference, log_of, resolve
from cas.store.layout import chunk_key, manifest_key
from cas.store.store import Store, open_store
from tests.support.buckets import HURRIED
from tests.support.faults import FILES, ONCE_DAMAGED, OPERATIONS, SILENT, Mute, a_chunk, visible
from tests.support.in_process import call_cas
from tests.support.models import publish_tree, read_tree, snapshot, write_tree
from tools.servers.fault_proxy import Fault, FaultProxy
from tools.servers.fault_proxy import Kind as Faulty
from tools.servers.process import free_ports


class TestDamageOnTheWay:
    """Bytes that arrive damaged once are read again."""

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
        store = open_store(s3_url, policy=HURRIED)
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
        done = call_cas("--store", s3_url, "restore", "m", "--cache-dir", str(tmp_path / "hub"))
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
                cas.restore("m", open_store(s3_url, policy=HURRIED), cache_dir=tmp_path / "hub")
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

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_a_server_that_never_answers(self, operation: str, monkeypatch: pytest.MonkeyPatch, mute: Mute) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", mute.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "access")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        began = time.monotonic()
        with pytest.raises(Stalled, match=r"(key|new|folder) in s3://bucket at http://.*gave up after 2 tries"):
            OPERATIONS[operation](open_bucket("s3://bucket", SILENT))
        assert time.monotonic() - began < 5
        mute.wait_until_closed(2)


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

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_seven_times_503_and_then_fine(self, bucket: Bucket, proxy: FaultProxy, operation: str) -> None:
        proxy.inject(Fault(Faulty.STATUS, status=503, code="SlowDown", retry_after=1, times=7))
        OPERATIONS[operation](bucket)
        assert sum(seen.status == 503 for seen in proxy.requests) == 7

    def test_conditional_writes_are_refused_once(self, proxy: FaultProxy, s3_url: str, tmp_path: Path) -> None:
        """As Backblaze B2 answers. The rest of the publish pays for it with one read before each write, no more."""
        proxy.inject(Fault(Faulty.STATUS, status=501, code="NotImplemented", method="PUT"))
        store = open_store(s3_url, policy=HURRIED)
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
        ("operation", "status"),
        [*((operation, 503) for operation in OPERATIONS), ("get", 429), ("get", 500), ("put", 520)],
    )
    def test_errors_for_ever(self, bucket: Bucket, proxy: FaultProxy, operation: str, status: int) -> None:
        proxy.inject(Fault(Faulty.STATUS, status=status, code="SlowDown", times=None))
        says = rf"in s3://.* at http://127.0.0.1:\d+: the store answered {status}.*gave up after 9 tries"
        with pytest.raises(Transient, match=says) as error:
            OPERATIONS[operation](bucket)
        assert error.value.exit_code == 6
        assert proxy.count() == HURRIED.attempts

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_nobody_listens(self, s3_url: str, operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_ports(1)[0]}")
        with pytest.raises(Unreachable, match=r"no connection could be made: check .*gave up after 5 tries"):
            OPERATIONS[operation](open_bucket(s3_url, HURRIED))

    def test_nobody_accepts(self, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server with a full backlog drops further connections, as a host that is down does."""
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
                asyncio.run(retry(RetryPolicy(), fail))
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
            asyncio.run(retry(replace(HURRIED, attempts=6), stall))
        assert stretches == [1, 2, 4, 8, 8, 8]
