"""JSON is decoded into types by several threads at once."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENTRY = b'{"manifest":null,"created":"2026-11-23T03:00:00Z","by":"x","reason":"y"}'
LEASE = b'{"by":"x","purpose":"y","seconds":1,"waits":false}'
MANIFEST = b"""{"version": 2, "model": "m", "repos": [
    {"repo_id": "a/b", "repo_type": "model", "commit": "%s", "refs": ["main"], "files": []}]}""" % (b"0" * 40)

# Each process imports a module and then decodes its type for the first time in many threads, not through our decoders.
CHILD = """
import importlib, sys, threading
import msgspec
sys.setswitchinterval(1e-6)
module, name, data = sys.argv[1:]
kind = getattr(importlib.import_module(module), name)
start, read = threading.Barrier(16), []
def run():
    start.wait()
    read.append(msgspec.json.decode(data.encode(), type=kind))
threads = [threading.Thread(target=run) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(read))
"""


@pytest.mark.parametrize(
    ("module", "name", "data"),
    [
        ("cas.formats.manifest", "Manifest", MANIFEST),
        ("cas.refs.reflog", "RefEntry", ENTRY),
        ("cas.store.lease_entries", "_LeaseDocument", LEASE),
        ("cas.store.condemned", "_Page", b'{"version":1,"manifests":[["m","%s"]],"chunks":[]}' % (b"0" * 64)),
        ("cas.store.format_file", "_Format", b'{"format":"cas","version":1}'),
        ("cas.formats.safetensors", "_Entry", b'{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'),
        ("cas.formats.tensor_files", "_Tensor", b'{"dtype":"F32","data_offsets":[0,4]}'),
        ("cas.local.verified", "_ChunkLists", b'{"version":1,"contents":{"x":[["%s",1]]}}' % (b"0" * 64)),
        ("worker.boot.messages", "Ended", b'{"steps":[{"name":"x","begun":0,"seconds":1}]}'),
    ],
)
def test_threads_that_decode_a_type_for_the_first_time_at_once(module: str, name: str, data: bytes) -> None:
    for _ in range(4):
        words = [sys.executable, "-c", CHILD, module, name, data.decode()]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
        assert (done.returncode, done.stdout, done.stderr) == (0, "16\n", "")


def test_types_are_decoded_and_encoded_by_what_their_modules_made() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for folder in ("cas", "worker")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for match in re.finditer(r"msgspec\.(?:json|msgpack|toml|yaml)\.(?:decode|encode)\(", path.read_text())
    ]
    assert found == []


def test_decoders_are_made_at_the_top_level_of_modules() -> None:
    made = re.compile(r"^ .*(?:msgspec\.json\.(?:De|En)coder|JsonFormat)\b.*\)$", re.MULTILINE)
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for folder in ("cas", "worker")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.name != "typed_json.py"
        for match in made.finditer(path.read_text())
    ]
    assert found == []
