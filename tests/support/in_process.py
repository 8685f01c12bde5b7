"""Call the real command in this process: what it does and prints, without the 0.4 CPU seconds of a new interpreter.

For tests of what a command does, prints and returns. Tests of what belongs to a process start one (`run_cas`): signals,
standard input, streams that are closed, locales and encodings, imports at the start, `cas run`, and huggingface_hub,
which reads its variables when it is imported.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any, NoReturn, TextIO

import pytest

from cas import config
from cas.cli import process
from cas.cli.main import main
from cas.store.store import Store
from tests.support.output_schemas import documents_checked


class _Ended(BaseException):
    """Stands for the end of the command's process."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def call_cas(*words: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Call the command's entry point in this process, and return what `run_cas` would return.

    Args:
        words: the command's arguments.
        env: variables to add or replace during the call.

    The test fails if the command would become another program, as `cas run` does, or prints a document that its JSON
    Schema (docs/schemas) does not describe.
    """
    out, err = _stream("strict"), _stream("backslashreplace")
    code = call_with_streams(out, err, *words, env=env)
    return subprocess.CompletedProcess(["cas", *words], code, _text(out), _text(err))


def call_with_streams(out: TextIO, err: TextIO, *words: str, env: Mapping[str, str] | None = None) -> int:
    """Call the command's entry point in this process with these streams, and return the exit code."""
    with documents_checked(), pytest.MonkeyPatch.context() as patch, state_restored():
        os.environ.update(env or {})
        patch.setattr(sys, "argv", ["cas", *words])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        patch.setattr(os, "_exit", _end)
        patch.setattr(os, "execve", _refuse)
        patch.setattr(config, "_inherited", {})
        # What a command sets in the C library would hold for all tests that follow.
        patch.setattr(process, "ctypes", SimpleNamespace(CDLL=lambda name: None))
        try:
            main()
        except _Ended as ended:
            return ended.code
        except SystemExit as ended:  # from shell completion
            return int(ended.code or 0)
    pytest.fail("the command did not end its process")


def cas_json(store: Store | str, *words: str) -> Any:
    """Call a command, check that it succeeds, and return its one JSON document."""
    done = call_cas("--json", "--store", store if isinstance(store, str) else store.url, *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def cas_lines(store: Store | str, *words: str) -> list[str]:
    """Call a command, check that it succeeds, and return the lines it prints."""
    done = call_cas("--store", store if isinstance(store, str) else store.url, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@contextlib.contextmanager
def state_restored() -> Iterator[None]:
    """Restore what a command changes for its process: variables, handlers of signals, and the notes of buckets."""
    variables = dict(os.environ)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)}
    notes = logging.getLogger("cas.bucket")
    listening = (notes.handlers[:], notes.level, notes.propagate)
    try:
        yield
    finally:
        for name in os.environ.keys() - variables.keys():
            del os.environ[name]
        for name, value in variables.items():
            if os.environ.get(name) != value:
                os.environ[name] = value
        for number, handler in handlers.items():
            signal.signal(number, handler)
        notes.handlers[:], notes.propagate = listening[0], listening[2]
        notes.setLevel(listening[1])


def _stream(errors: str) -> io.TextIOWrapper:
    """A text stream to capture what is written, with the encoding of a pipe."""
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=errors)


def _text(stream: io.TextIOWrapper) -> str:
    """What was written to a stream."""
    stream.flush()
    captured = stream.buffer
    assert isinstance(captured, io.BytesIO)
    return captured.getvalue().decode()


def _end(code: int) -> NoReturn:
    raise _Ended(code)


def _refuse(program: str, *_: object) -> NoReturn:
    pytest.fail(f"this process would become {program}: use run_cas")
