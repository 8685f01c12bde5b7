"""What tests of looking share: the command in a process, on a terminal or not, and versions made by hand."""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from typing import Any

from cas.formats.digest import hex_of
from cas.formats.digest import named
from cas.formats.frame import Encoder
from cas.formats.manifest import ChunkRef
from cas.formats.manifest import Manifest
from cas.formats.manifest import Repo
from cas.formats.manifest import RepoFile
from cas.store.store import Store
from tests.conftest import run_cas

COMMIT = "c" * 40


def cas_json(store: Store | str, *words: str) -> Any:
    """The one JSON document of a successful call."""
    done = run_cas("--json", "--store", store if isinstance(store, str) else store.url, *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def cas_lines(store: Store | str, *words: str) -> list[str]:
    """What a successful call prints."""
    done = run_cas("--store", store if isinstance(store, str) else store.url, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def on_terminal(columns: int, store: Store, *words: str) -> list[str]:
    """The same on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    command = [sys.executable, "-m", "cas", "--store", store.url, *words]
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, env=environment) as process:
        os.close(theirs)
        shown = b""
        while piece := _read(ours):
            shown += piece
        assert process.stderr is not None
        errors = process.stderr.read().decode()
    os.close(ours)
    assert process.returncode == 0, errors
    return shown.decode().splitlines()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other end was closed
        return b""


def put(store: Store, data: bytes, cuts: Sequence[int] = ()) -> tuple[ChunkRef, ...]:
    """Stores `data` in chunks that end at `cuts`, wherever those are."""
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    refs = []
    for start, end in itertools.pairwise(edges):
        piece = data[start:end]
        store.put_frame(hex_of(piece), Encoder().encode(piece))
        refs.append(ChunkRef(hex_of(piece), len(piece)))
    return tuple(refs)


def repo(
    name: str, files: Mapping[str, tuple[ChunkRef, ...]], commit: str = COMMIT, refs: tuple[str, ...] = ("main",)
) -> Repo:
    """A repo whose files consist of stored chunks; the blob is made of their names."""
    made = []
    for path, chunks in files.items():
        blob = hashlib.sha256("".join(chunk.digest for chunk in chunks).encode()).hexdigest()
        made.append(RepoFile(path, sum(chunk.size for chunk in chunks), blob, chunks))
    return Repo(name, "model", commit, refs, tuple(made))


def version(
    store: Store, repos: Sequence[Repo], model: str = "m", created: str = "2026-01-01T00:00:00Z", **fields: Any
) -> str:
    """Stores a manifest; a reference to it."""
    store.create()
    made = Manifest(model=model, created=created, created_by="tests", repos=tuple(repos), **fields)
    return f"{model}@{named(store.put_manifest(made))}"
