"""Bundles of `cas attest`, verified by the real model-signing, as its users call it: against folders, with a key."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import cas
from cas.store.store import Store
from tests.ops.attest.keys import CURVES, write_pair
from tests.support.in_process import call_cas
from tests.support.models import KIB, REPO, noise, put_model, snapshot

PYTHON = Path(__file__).parents[3] / ".venv/model-signing/bin/python"
"""An interpreter that has the package, as `make test` makes it from requirements/model-signing.lock."""

# Calls the command line of the package once for each list of words, in one process, as its imports take a second.
_CALLS = """
import contextlib, io, json, sys
from model_signing._cli import main
for words in json.load(sys.stdin):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            main(words, standalone_mode=False)
            code = 0
        except SystemExit as ended:
            code = ended.code
    print(json.dumps([code, out.getvalue()]))
"""

FILES = {
    ".gitattributes": b"* text\n",
    "config.json": b"{}",
    "empty": b"",
    "sub/weights.safetensors": noise(200 * KIB),
    "sub-1/.gitattributes": b"of a folder below, which is no file of git's own to model-signing",
}


def model_signing(*calls: list[str]) -> list[tuple[int, str]]:
    """Return the exit code and the output of each call of `model_signing`."""
    if not PYTHON.exists():
        pytest.fail("model-signing is not installed: `make test` installs it", pytrace=False)
    done = subprocess.run(
        [PYTHON, "-c", _CALLS], input=json.dumps(calls), capture_output=True, text=True, check=True, timeout=120
    )
    return [(code, text) for code, text in map(json.loads, done.stdout.splitlines())]


def test_the_real_model_signing_verifies_them(directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {REPO: FILES})
    put_model(directory_store, {REPO: FILES, "org/b": {"config.json": b"other"}}, {"torch/t.bin": b"3"}, tag="two")
    ours, two, hub = tmp_path / "ours", tmp_path / "two", tmp_path / "hub"
    cas.restore("m", directory_store, to=ours)
    cas.restore("m:two", directory_store, to=cas.Folder(two, "{repo}/{path}"))
    cached = snapshot(cas.restore("m", directory_store, cache_dir=hub))
    calls = []

    def attested(reference: str, private: Path, name: str, *options: str) -> Path:
        file = tmp_path / name
        words = ("attest", reference, "-o", str(file), "--sign-with", str(private), *options)
        assert call_cas("--store", directory_store.url, *words).returncode == 0
        return file

    def verify(folder: Path, signature: Path, public: Path, *options: str) -> None:
        words = ["verify", "key", str(folder), "--signature", str(signature), "--public_key", str(public)]
        calls.append([*words, *options])

    for curve in CURVES:
        private, public = write_pair(tmp_path, curve)
        verify(ours, attested("m", private, f"{curve}.sig"), public)
    signature = tmp_path / f"{curve}.sig"
    verify(cached, signature, public, "--allow_symlinks")
    verify(ours, signature, public, "--no-ignore-git-paths")
    verify(two, attested("m:two", private, "two.sig", "--layout", "{repo}/{path}"), public)
    sound = len(calls)

    verify(two, signature, public)  # another version
    verify(ours, signature, tmp_path / "P-256.pub")  # another key
    altered = tmp_path / "altered.sig"
    document = json.loads(signature.read_text())
    payload = document["dsseEnvelope"]["payload"]
    document["dsseEnvelope"]["payload"] = payload[:200] + ("A" if payload[200] != "A" else "B") + payload[201:]
    altered.write_text(json.dumps(document))
    verify(ours, altered, public)
    changed, added = tmp_path / "changed", tmp_path / "added"
    for folder in (changed, added):
        cas.restore("m", directory_store, to=folder)
    (changed / "config.json").write_bytes(b"[]")
    (added / "hook.py").write_bytes(b"")
    verify(changed, signature, public)
    verify(added, signature, public)

    results = model_signing(*calls)
    assert results[:sound] == [(0, "Verification succeeded\n")] * sound
    assert [code for code, _ in results[sound:]] == [1] * (len(calls) - sound)
    texts = [text for _, text in results[sound:]]
    assert "Extra files found" in texts[0]
    assert "Key mismatch" in texts[1]
    assert "Hash mismatch for 'config.json'" in texts[3]
    assert "Extra files found in model 'added': hook.py" in texts[4]
