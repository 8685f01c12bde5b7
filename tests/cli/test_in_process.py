"""A command that a test calls in this process is like one in a process of its own, and leaves nothing behind."""

from __future__ import annotations

import logging
import os
import signal
import sys

import pytest

from tests.cli.conftest import Shop
from tests.support.in_process import call_cas


def state() -> list[object]:
    """What a command changes for its process."""
    notes = logging.getLogger("cas.bucket")
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)]
    streams = [sys.argv, sys.stdin, sys.stdout, sys.stderr, os._exit, os.execve]
    return [dict(os.environ), handlers, streams, list(notes.handlers), notes.level, notes.propagate]


@pytest.mark.parametrize("words", [("-q", "show", "none"), ("ls", "m")])
def test_both_ways_return_and_print_the_same(shop: Shop, words: tuple[str, ...]) -> None:
    here, there = shop.cas(*words), shop.run(*words)
    assert (here.returncode, here.stdout, here.stderr) == (there.returncode, there.stdout, there.stderr)


def test_nothing_stays_behind(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", " a blank before and a line end behind\n")  # a command takes them off
    before = state()
    assert shop.cas("restore", "m", "-v", AWS_REGION="x").returncode == 0
    assert shop.cas("restore", "none").returncode == 3
    assert call_cas(env={"_CAS_COMPLETE": "bash_complete", "COMP_WORDS": "cas re", "COMP_CWORD": "1"}).returncode == 0
    assert state() == before


def test_a_command_that_would_become_another_program_fails_the_test(shop: Shop) -> None:
    before = state()
    with pytest.raises(pytest.fail.Exception, match="use run_cas"):
        shop.cas("run", "m", "--", "true")
    assert state() == before
