"""A command that is stopped past its lease just before it writes, while a collector sweeps what it is about to name.

The process really stops (SIGSTOP), as a suspended machine does, and goes on (SIGCONT) when the sweep is over.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from cas.formats.digest import named
from cas.refs import reflog
from cas.refs.reference import Reference, log_of
from cas.refs.reflog import RefLog
from cas.store.store import Store, open_store
from tests.support.collecting import AT_ONCE, Models, dangling
from tests.support.in_process import call_cas
from tests.support.models import write_tree
from tests.support.processes import start_cas, until

# The process stops itself before the n-th write below a folder.
STOP = """
import os, signal, sys
from cas.bucket.object_store import ObjectBucket
put, folder, left = ObjectBucket.put, sys.argv.pop(1), [int(sys.argv.pop(1))]
def stopping_put(self, key, *args, **options):
    if key.startswith(folder):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
    return put(self, key, *args, **options)
ObjectBucket.put = stopping_put
"""
LEASE = {"CAS_LEASE_SECONDS": "2"}


@pytest.fixture
def models(directory_store: Store, tmp_path: Path) -> Models:
    """A store in a directory."""
    return Models(directory_store, tmp_path)


@pytest.fixture(params=["directory", "s3"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Models:
    """A store in a directory, then one on a real S3 server."""
    url = str(tmp_path / "store") if request.param == "directory" else request.getfixturevalue("s3_url")
    return Models(open_store(url), tmp_path)


def stopped(models: Models, *words: str, at: str = "refs/", number: int = 1) -> tuple[int, str]:
    """Run a command that is stopped before a write while everything unreferenced is swept; return how it ended."""
    process = start_cas(at, str(number), "--store", models.store.url, *words, before=STOP, env=LEASE)
    until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2][0] == "T")
    time.sleep(2.1)
    for _ in range(2):
        models.collect(keep=1, wait=10)
    os.kill(process.pid, signal.SIGCONT)
    _, errors = process.communicate(timeout=60)
    assert call_cas("--store", models.store.url, "fsck").returncode == 0 or at == "manifests/"
    return process.returncode, errors


def log(models: Models, tag: str) -> RefLog:
    return log_of(models.store, Reference("m", tag=tag))


def test_a_tag_that_is_new(both: Models) -> None:
    old = both.publish("old")
    new = both.publish("new")
    code, errors = stopped(both, "tag", f"m@{named(old)}", "kept")
    assert (code, len(errors.splitlines())) == (6, 1)
    assert "had deleted while this machine slept" in errors
    assert "m:kept is removed now" in errors
    assert old not in both.versions()
    assert log(both, "kept").current_digest() is None
    assert dangling(both.store, keep=1) == []
    assert reflog.tags(both.store) == {"m": {"latest": new}}
    both.collect(keep=1)
    again = call_cas("--store", both.store.url, "tag", f"m@{named(old)}", "kept")
    assert again.returncode == 3, "the version is gone, and the command says so"


def test_a_tag_that_named_another_version_names_it_again(models: Models) -> None:
    old = models.publish("old")
    new = models.publish("new")
    code, errors = stopped(models, "tag", f"m@{named(old)}", "latest")
    assert code == 6
    assert f"m:latest names {named(new)} now" in errors
    assert log(models, "latest").current_digest() == new
    assert models.restored("m") == b"new" * 1000


def test_a_pin(models: Models) -> None:
    old = models.publish("old")
    models.publish("new")
    code, errors = stopped(models, "pin", "eu", f"m@{named(old)}")
    assert (code, "pin:eu/m is removed now" in errors) == (6, True)
    assert reflog.current(models.store, "pins") == {}


def test_a_rollback(both: Models) -> None:
    both.publish("old")
    new = both.publish("new")
    code, errors = stopped(both, "rollback", "m:latest")
    assert (code, f"m:latest names {named(new)} now" in errors) == (6, True)
    assert both.restored("m") == b"new" * 1000


def test_the_second_tag_of_two(models: Models) -> None:
    old = models.publish("old")
    new = models.publish("new")
    log(models, "second").append(new, "test")
    code, _ = stopped(models, "tag", f"m@{named(old)}", "first", "second", number=2)
    assert code == 6
    assert log(models, "first").current_digest() == old, "it was named in time"
    assert log(models, "second").current_digest() == old, "which protects the version that the second one names"


@pytest.mark.parametrize("at", ["refs/", "manifests/"])
def test_a_publish(both: Models, at: str) -> None:
    old = both.publish("old")
    tree = write_tree(both.folder / "tree", {"shared.bin": b"s" * 5000, "own.bin": b"new" * 1000})
    words = ("publish", "m", "--dir", str(tree), "--as", "org/model")
    code, _ = stopped(both, *words, at=at)
    assert code == 6
    assert log(both, "latest").current_digest() == old
    assert dangling(both.store, keep=1) == []
    assert both.restored("m") == b"old" * 1000
    again = call_cas("--store", both.store.url, *words, env=LEASE)
    assert again.returncode == 0, again.stderr
    assert both.restored("m") == b"new" * 1000
    assert call_cas("--store", both.store.url, "fsck").returncode == 0


def test_a_publish_of_what_a_tag_names_already(models: Models) -> None:
    old = models.publish("old", tag="stable")
    tree = models.folder / "tree"
    words = ("publish", "m", "--dir", str(tree), "--as", "org/model", "--tag", "stable", "--tag", "second")
    process = start_cas("refs/", "1", "--store", models.store.url, *words, before=STOP, env=LEASE)
    until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2][0] == "T")
    new = models.publish("new", tag="stable")
    time.sleep(2.1)
    for _ in range(2):
        models.collect(keep=1, wait=10)
    assert models.versions() == {new}
    os.kill(process.pid, signal.SIGCONT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, "m:second is removed now" in errors) == (6, True), errors
    assert old not in models.versions()
    assert reflog.tags(models.store) == {"m": {"stable": new}}


def test_a_command_that_slept_while_nothing_was_swept(models: Models) -> None:
    old = models.publish("old")
    models.publish("new")
    process = start_cas(
        "refs/", "1", "--store", models.store.url, "tag", f"m@{named(old)}", "kept", before=STOP, env=LEASE
    )
    until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2][0] == "T")
    time.sleep(1.5)
    os.kill(process.pid, signal.SIGCONT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, "run the same command again" in errors) == (6, True)
    assert log(models, "kept").current_digest() == old
    models.collect(AT_ONCE, keep=1)
    models.collect(AT_ONCE, keep=1)
    assert models.restored("m:kept") == b"old" * 1000
