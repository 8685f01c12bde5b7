"""`cas.phase`: what a program names is in the receipt of its restore, and nothing of it fails or delays the program."""

from __future__ import annotations

import logging
import multiprocessing
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cas
from cas.store import later_phases
from cas.store.receipt import Receipt
from cas.store.receipts import read_receipts
from cas.store.store import Store, open_store
from tests.support.two_versions import Boot, boot_at


@pytest.fixture(autouse=True)
def as_in_a_new_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(later_phases, "_program", None)
    yield
    later_phases.settle(60)


@pytest.fixture
def boot(tmp_path: Path) -> Boot:
    store = open_store(str(tmp_path / "store"))
    store.create()
    return boot_at(store, tmp_path)


def only(store: Store) -> Receipt:
    (one,) = read_receipts(store).receipts
    return one.receipt


def named(store: Store) -> list[str]:
    return [phase.name for phase in only(store).phases]


def restore(boot: Boot) -> None:
    cas.restore("m", boot.store, cache_dir=boot.cache, receipt=True)


def test_phases_before_and_after_a_restore_are_in_its_receipt(boot: Boot) -> None:
    with cas.phase("imports"):
        pass
    restore(boot)
    assert named(boot.store)[0] == "imports"
    with cas.phase("load"), cas.phase("compile"):
        pass
    later_phases.settle(60)
    assert named(boot.store)[-2:] == ["compile", "load"]
    receipt = only(boot.store)
    inner, outer = receipt.phases[-2:]
    assert inner.begun is not None and outer.begun is not None
    assert receipt.seconds <= outer.begun <= inner.begun
    assert receipt.phases[0].begun is not None and receipt.phases[0].begun < 0


def test_a_phase_that_fails_has_its_name_too(boot: Boot) -> None:
    restore(boot)
    with pytest.raises(ZeroDivisionError), cas.phase("load"):
        raise ZeroDivisionError
    later_phases.settle(60)
    assert named(boot.store)[-1] == "load"


def test_whatever_a_program_calls_its_phases_the_receipt_can_be_read(boot: Boot) -> None:
    for name in (7, "\ud800\x1b[31m", "x" * 5000):
        with cas.phase(name):  # type: ignore[arg-type]
            pass
    restore(boot)
    with cas.phase(8):  # type: ignore[arg-type]
        pass
    later_phases.settle(30)
    names = named(boot.store)
    assert names[:3] == ["7", "\\ud800\\x1b[31m", "x" * 200]
    assert names[-1] == "8"


def test_a_program_that_names_a_phase_for_each_request_keeps_a_bounded_number(boot: Boot) -> None:
    for _ in range(1100):
        with cas.phase("request"):
            pass
    restore(boot)
    assert named(boot.store).count("request") == 1000


def test_a_program_that_is_ending_may_still_name_a_phase(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(threading, "_register_atexit", refuse, raising=False)
    with cas.phase("early"):
        pass
    restore(boot)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with cas.phase("late"):
            pass
    with cas.phase("later"):
        pass
    later_phases.settle(30)
    assert named(boot.store)[-2:] == ["late", "later"]


def test_without_a_receipt_nothing_is_written(boot: Boot) -> None:
    cas.restore("m", boot.store, cache_dir=boot.cache)
    with cas.phase("load"):
        pass
    assert "phases" not in {thread.name for thread in threading.enumerate()}
    assert not boot.store.bucket.list("receipts")


def test_the_next_restore_s_receipt_gets_what_comes_after_it(boot: Boot) -> None:
    for name in ("first", "second"):
        restore(boot)
        with cas.phase(name):
            pass
        later_phases.settle(60)
    found = [[phase.name for phase in one.receipt.phases] for one in read_receipts(boot.store).receipts]
    assert [("first" in names, "second" in names) for names in found] == [(True, False), (False, True)]


def test_threads_may_name_theirs(boot: Boot) -> None:
    restore(boot)

    def work(name: str) -> None:
        with cas.phase(name):
            pass

    threads = [threading.Thread(target=work, args=(f"thread-{at}",)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    later_phases.settle(30)
    assert {f"thread-{at}" for at in range(8)} <= set(named(boot.store))


PROGRAM = """
import subprocess, sys
import cas
with cas.phase("load"):
    pass
with cas.phase("compile"):
    subprocess.run([sys.executable, "-c", "import cas\\nwith cas.phase('child'): pass"], check=True)
"""


def test_the_program_that_cas_run_becomes_adds_to_the_receipt_of_the_run(boot: Boot) -> None:
    done = boot.run("run", "--receipt", "m", "--", sys.executable, "-c", PROGRAM)
    assert done.returncode == 0, done.stderr
    receipt = only(boot.store)
    names = [phase.name for phase in receipt.phases]
    assert sorted(names[-5:]) == ["child", "compile", "exec", "load", "view"], names
    # `exec` goes from the end of the receipt to the program's first phase, without a gap.
    first = next(each for each in receipt.phases if each.name == "exec")
    load = next(each for each in receipt.phases if each.name == "load")
    assert first.begun is not None and load.begun is not None
    assert first.begun == pytest.approx(receipt.seconds, abs=1e-3)
    assert first.begun + first.seconds == pytest.approx(load.begun, abs=1e-3)


def test_a_run_without_a_receipt_hands_none_on(boot: Boot) -> None:
    program = f"import os; assert 'CAS_PHASES' not in os.environ\n{PROGRAM}"
    done = boot.run("run", "m", "--", sys.executable, "-c", program)
    assert done.returncode == 0, done.stderr
    assert not boot.store.bucket.list("receipts")


def test_what_a_fork_names_goes_nowhere(boot: Boot) -> None:
    restore(boot)
    with cas.phase("parent"):
        pass
    later_phases.settle(60)
    child = multiprocessing.get_context("fork").Process(target=_child)
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert named(boot.store)[-1] == "parent"


def _child() -> None:
    with cas.phase("child"):
        pass
    assert "phases" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("text", ["", "[]", "{", "[1]", '["/x", 5, 1, 1, 1]', '["/x", ["k"], "y", 1, 1]', "[" * 9000])
def test_a_variable_that_is_not_from_cas_run_is_no_receipt(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAS_PHASES", text)
    with cas.phase("load"):
        pass


def test_a_store_that_refuses_is_one_warning(
    boot: Boot, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    restore(boot)
    tried: list[str] = []

    def refuse(key: str, *words: Any, **options: Any) -> bool:
        tried.append(key)
        raise cas.CasError("PutObject is not allowed")

    monkeypatch.setattr(boot.store.bucket, "put", refuse)
    with caplog.at_level(logging.WARNING, "cas"):
        for name in ("load", "compile"):
            with cas.phase(name):
                pass
            later_phases.settle(60)
    (record,) = caplog.records
    assert "phases were not added to receipt receipts/" in record.getMessage()
    assert "PutObject is not allowed" in record.getMessage()
    assert len(tried) == 1
