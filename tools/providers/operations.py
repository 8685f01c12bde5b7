"""What each server is asked to do: one function an operation, which returns a word for the table or raises."""

from __future__ import annotations

import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cas
from cas import refs
from cas.bucket import Bucket, Kind, RetryPolicy, open_bucket
from cas.errors import CasError, ObjectMissing, Unsupported
from cas.formats.digest import named
from cas.ops.doctor.examiner import examine
from cas.ops.fsck.checker import fsck
from cas.ops.gc.collector import gc
from cas.store.store import open_store
from tools.providers.words import FAILED, HONOURED, IGNORED, NONE, OK

POLICY = RetryPolicy(attempts=4, unreachable_attempts=2, give_up=20)
PAGE = 1000
"""Keys on a page of a listing: S3's and Azure's maxima are 1,000 and 5,000."""

_RACERS = 8
_FILES = {"config.json": b"{}", "model.bin": bytes(range(256)) * 40_000}


class WrongAnswer(Exception):
    """The server did something else than it was asked to do."""


class Operation(NamedTuple):
    """A row of the table.

    Attributes:
        name: what is done, in words.
        run: does it in the store at a URL, and returns a word for the table.
    """

    name: str
    run: Callable[[str], str]


def _must(holds: bool, what: str) -> None:
    if not holds:
        raise WrongAnswer(what)


def _bucket(url: str) -> Bucket:
    # Beside the store: a publish makes none where other things are.
    return open_bucket(f"{url.rpartition('/')[0]}/operations", POLICY)


def _objects(url: str) -> str:
    bucket = _bucket(url)
    bucket.put("a/key", b"data", Kind.CHUNK, overwrite=True)
    _must(bytes(bucket.get("a/key", 4)) == b"data", "other bytes came back")
    _must(bucket.head("a/key").size == 4, "another size")
    into = memoryview(bytearray(8))
    _must(bucket.get_into("a/key", into) == 4, "another size")
    return OK


def _absence(url: str) -> str:
    bucket = _bucket(url)
    for read in (lambda: bucket.head("none"), lambda: bucket.get("none", 1)):
        try:
            read()
        except ObjectMissing:
            continue
        raise WrongAnswer("an absent object was found")
    return OK


def _range(url: str) -> str:
    bucket = _bucket(url)
    bucket.put("range", b"0123456789", Kind.CHUNK, overwrite=True)
    _must(bytes(bucket.get_range("range", 3, 4).data) == b"3456", "another range came")
    return OK


def _pages(url: str) -> str:
    bucket = _bucket(url)
    keys = [f"pages/{number:05}" for number in range(PAGE + 3)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: bucket.put(key, b"", Kind.DOCUMENT, overwrite=True), keys))
    _must([entry.key for entry in bucket.list("pages")] == keys, "the listing is not whole")
    return OK


def _create(url: str) -> str:
    bucket = _bucket(url)
    bucket.put("once", b"first", Kind.DOCUMENT)
    if bucket.put("once", b"other", Kind.DOCUMENT):
        return IGNORED
    _must(bytes(bucket.get("once", 5)) == b"first", "an object was replaced")
    return OK


def _race(url: str) -> str:
    """Let several writers create one key at once; report whether one of them alone was told that it won."""
    bucket = _bucket(url)
    told = 0
    for turn in range(3):
        with ThreadPoolExecutor(_RACERS) as pool:
            won = pool.map(lambda racer: bucket.put(f"race/{turn}", b"%d" % racer, Kind.DOCUMENT), range(_RACERS))  # noqa: B023
            told = max(told, sum(won))
    return HONOURED if told == 1 else f"{IGNORED}: {told} of {_RACERS}"


def _delete(url: str) -> str:
    bucket = _bucket(url)
    bucket.put("gone", b"", Kind.DOCUMENT, overwrite=True)
    bucket.delete("gone")
    bucket.delete("gone")
    _must(not bucket.exists("gone"), "a deleted object is there")
    return OK


def _signed(url: str) -> str:
    bucket = _bucket(url)
    bucket.put("signed", b"data", Kind.CHUNK, overwrite=True)
    try:
        address = bucket.signed_url("signed", 60)
    except Unsupported:
        return NONE
    with urllib.request.urlopen(address) as answer:
        _must(answer.read() == b"data", "other bytes came")
    return OK


def _versions(url: str) -> str:
    bucket = _bucket(url)
    bucket.put("kept", b"one", Kind.DOCUMENT, overwrite=True)
    bucket.put("kept", b"two", Kind.DOCUMENT, overwrite=True)
    bucket.delete("kept")
    try:
        if not any(stored.version for stored in bucket.stored("") if stored.key == "kept"):
            return NONE
    except Unsupported:
        return NONE
    for stored in bucket.stored(""):
        if stored.key == "kept":
            bucket.erase(stored)
    _must(not [stored for stored in bucket.stored("") if stored.key == "kept"], "an erased version is there")
    return OK


def _publish(url: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        for name, data in _FILES.items():
            (Path(folder) / name).write_bytes(data)
        first = cas.publish("m", cas.Source.from_folder(Path(folder), "org/m"), url)
        again = cas.publish("m", cas.Source.from_folder(Path(folder), "org/m"), url)
        _must(first.reference == again.reference, "the same content has another name")
    return OK


def _restore(url: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        restored = cas.restore("m", store=url, cache_dir=Path(folder) / "hub")
        snapshot = Path(restored.snapshots["org/m"])
        _must({name: (snapshot / name).read_bytes() for name in _FILES} == _FILES, "other bytes were restored")
    return OK


def _tags(url: str) -> str:
    store = open_store(url, policy=POLICY)
    resolved = refs.resolve(store, "m")
    _must(named(resolved.digest) in resolved.exact, "another version")
    return OK


def _fsck(url: str) -> str:
    checked = fsck(store=url)
    _must(not (checked.missing.count or checked.corrupt.count or checked.undecodable.count), "the store is damaged")
    return OK


def _gc(url: str) -> str:
    gc(url, wait=0)
    return OK


def _doctor(url: str) -> str:
    """Examine the store; report how many warnings there are, and fail at the first failed check of the store."""
    with tempfile.TemporaryDirectory() as folder:
        findings = [one for one in examine(url, cache_dir=folder).findings if one.group == "store"]
    for one in findings:
        _must(one.status != "failed", f"{one.name}: {one.found}")
    warned = [one for one in findings if one.status == "warning"]
    return f"ok, {len(warned)} warned" if warned else OK


OPERATIONS = (
    Operation("put, get, head", _objects),
    Operation("absent is absent", _absence),
    Operation("a range", _range),
    Operation("a listing of two pages", _pages),
    Operation("create replaces nothing", _create),
    Operation("conditional writes", _race),
    Operation("delete, twice", _delete),
    Operation("a signed URL", _signed),
    Operation("versions erased", _versions),
    Operation("publish, twice", _publish),
    Operation("resolve a tag", _tags),
    Operation("restore", _restore),
    Operation("fsck", _fsck),
    Operation("gc", _gc),
    Operation("doctor", _doctor),
)
"""The rows of the table, in the order in which they are run."""


def outcome(operation: Operation, url: str) -> tuple[str, str]:
    """Run one operation; return a word for the table, and the reason where it failed."""
    try:
        return operation.run(url), ""
    except (CasError, WrongAnswer, OSError, urllib.error.URLError) as error:
        return FAILED, f"{operation.name}: {error}"
