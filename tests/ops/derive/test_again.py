"""The same derivation again, after an interruption, in a store with holes, and of models of any size."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cas
from cas import refs
from cas.errors import ChunkCorrupt, ChunkMissing
from cas.host import MIB, Limits
from cas.refs import reflog
from cas.store.layout import chunk_key
from cas.store.store import Store
from tests.support.models import snapshot
from tests.support.safetensors import Tensor, cast_all, normal, publish_file, read_safetensors, safetensors

DIE_AT = """
import os, signal, sys
import cas

url, last = sys.argv[1], int(sys.argv[2])
seen = []

def listen(event):
    seen.append(event)
    if len(seen) == last:
        os.kill(os.getpid(), signal.SIGKILL)

done = cas.derive("m", url, cast="float16", tags=["fp16"], on_event=listen)
print(len(seen), done.uploaded_chunks, flush=True)
os._exit(0)  # as the command line does, and for its reason
"""

PEAK = """
import os, re, sys
import cas
from cas.cli.process import keep_memory_together
from cas.cli.process import return_large_blocks
from cas.host import Limits

keep_memory_together()
return_large_blocks()
cas.derive(sys.argv[2], sys.argv[1], cast="float16", tags=["fp16"], limits=Limits(workers=2))
# getrusage() would count the process that started this one, too: exec keeps its maximum.
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024, flush=True)
os._exit(0)  # as the command line does, and for its reason
"""


def large(count: int = 6) -> bytes:
    """Tensors of which each fills a unit of work and more."""
    return safetensors({f"w{number}": Tensor("F32", (3 << 20,), normal(3 << 20, number)) for number in range(count)})


def test_deriving_again_adds_nothing(store: Store, tmp_path: Path) -> None:
    publish_file(store, tmp_path / "src", safetensors({"w": Tensor("F32", (1 << 20,), normal(1 << 20))}))
    first = cas.derive("m", store, cast="float16", tags=["fp16"])
    objects = {entry.key for folder in ("chunks", "manifests", "refs") for entry in store.bucket.list(folder)}
    seen: list[cas.Event] = []
    again = cas.derive("m", store, cast="float16", tags=["fp16"], on_event=seen.append)
    assert objects == {entry.key for folder in ("chunks", "manifests", "refs") for entry in store.bucket.list(folder)}
    assert (again.reference, again.created, again.moved, again.uploaded) == (first.reference, False, (), 0)
    assert not [event for event in seen if type(event).__name__ == "Moved"]
    kept = ("cast", "tensors", "proof", "total", "before", "equivalent", "transform", "original", "chunks")
    assert [getattr(first, name) for name in kept] == [getattr(again, name) for name in kept]
    other = cas.derive("m", store, cast="float16", tags=["half", "fp16"])
    assert (other.reference, other.moved) == (first.reference, ("half",))


def test_a_dry_run_writes_nothing(directory_store: Store, tmp_path: Path) -> None:
    publish_file(directory_store, tmp_path / "src", safetensors({"w": Tensor("F32", (1 << 20,), normal(1 << 20))}))
    before = {path for path in Path(directory_store.url).rglob("*") if path.is_file()}
    dry = cas.derive("m", directory_store, cast="float16", tags=["fp16"], dry_run=True)
    assert (dry.reference, dry.created, dry.proof, dry.uploaded) == ("", True, "", 0)
    assert before == {path for path in Path(directory_store.url).rglob("*") if path.is_file()}
    done = cas.derive("m", directory_store, cast="float16", tags=["fp16"])
    assert (dry.cast, dry.tensors, dry.total, dry.before) == (done.cast, done.tensors, done.total, done.before)
    again = cas.derive("m", directory_store, cast="float16", tags=["other"], dry_run=True)
    assert (again.reference, again.created, again.moved) == (done.reference, False, ())
    assert list(reflog.tags(directory_store, "m")["m"]) == ["fp16", "latest"]


@pytest.mark.parametrize("store", ["directory", "s3"], indirect=True)
def test_a_derivation_killed_at_any_event_is_gone_on_with(store: Store, tmp_path: Path) -> None:
    publish_file(store, tmp_path / "src", large(3))
    survived = 0
    for last in range(1, 100):
        words = [sys.executable, "-c", DIE_AT, store.url, str(last)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode == 0:
            events, uploaded = map(int, done.stdout.split())
            assert events < last
            assert uploaded <= 4
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert "fp16" not in reflog.tags(store, "m")["m"]
        survived += 1
    assert survived >= 5
    restored = snapshot(cas.restore("m:fp16", store, cache_dir=tmp_path / "hub"))
    tensors, _, _ = read_safetensors((restored / "model.safetensors").read_bytes())
    for number in range(3):
        assert tensors[f"w{number}"].data == np.frombuffer(normal(3 << 20, number), "f4").astype(np.float16).tobytes()


def test_chunks_that_vanished_are_made_again(directory_store: Store, tmp_path: Path) -> None:
    publish_file(directory_store, tmp_path / "src", large(3))
    first = cas.derive("m", directory_store, cast="float16", tags=["fp16"])
    of_variant = refs.resolve(directory_store, "m:fp16").manifest.chunks()
    lost = sorted(of_variant)[:2]
    for digest in lost:
        directory_store.bucket.delete(chunk_key(digest))
    again = cas.derive("m", directory_store, cast="float16", tags=["fp16"])
    assert (again.reference, again.uploaded_chunks, again.created) == (first.reference, 2, False)
    cas.restore("m:fp16", directory_store, cache_dir=tmp_path / "hub")


def test_a_store_that_lacks_part_of_the_original_is_told_of(directory_store: Store, tmp_path: Path) -> None:
    publish_file(directory_store, tmp_path / "src", large(2), **{"pytorch_model.bin": b"p" * 100})
    files = {file.path: file for file in refs.resolve(directory_store, "m").manifest.all_files()}
    carried, cast = files["pytorch_model.bin"].chunks[0].digest, files["model.safetensors"].chunks[-1].digest
    for digest in (carried, cast):
        stored = Path(directory_store.url) / chunk_key(digest)
        data = stored.read_bytes()
        stored.unlink()
        with pytest.raises(ChunkMissing, match=digest):
            cas.derive("m", directory_store, cast="float16", tags=["fp16"])
        stored.write_bytes(data)
    stored.write_bytes(data[:-9] + b"otherwise")
    with pytest.raises(ChunkCorrupt, match=cast):
        cas.derive("m", directory_store, cast="float16", tags=["fp16"])
    assert "fp16" not in reflog.tags(directory_store, "m")["m"]


def test_an_upload_that_fails_ends_the_derivation(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_file(directory_store, tmp_path / "src", large(4))
    with monkeypatch.context() as patch:
        patch.setattr(Store, "put_frame", lambda *words, **options: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(OSError, match="full"):
            cas.derive("m", directory_store, cast="float16", tags=["fp16"])
    assert "fp16" not in reflog.tags(directory_store, "m")["m"]
    assert cas.derive("m", directory_store, cast="float16", tags=["fp16"]).created


def test_small_budgets_and_one_worker_suffice(directory_store: Store, tmp_path: Path) -> None:
    data = normal(1 << 20, 3) * 5
    publish_file(directory_store, tmp_path / "src", safetensors({"w": Tensor("F64", (5 << 19,), data)}))
    limits = Limits(budget=1 * MIB, requests=1, uploads=1, workers=1)
    cas.derive("m", directory_store, cast="bfloat16", tags=["bf16"], limits=limits)
    restored = snapshot(cas.restore("m:bf16", directory_store, cache_dir=tmp_path / "hub"))
    (tensor,) = read_safetensors((restored / "model.safetensors").read_bytes())[0].values()
    assert tensor.data[: 2 << 16] == cast_all(data[: 8 << 16], "F64", "BF16")


def test_peak_memory_does_not_grow_with_the_model(tmp_path: Path) -> None:
    peaks = []
    noise = np.frombuffer(os.urandom(8 * MIB), np.uint8).astype(np.float32).tobytes()
    for tensors in (2, 8):
        file = safetensors(
            {f"{n}": Tensor("F32", (8 << 20,), n.to_bytes(4, "little") + noise[4:]) for n in range(tensors)}
        )
        publish_file(str(tmp_path / "store"), tmp_path / str(tensors), file)
        words = [sys.executable, "-c", PEAK, str(tmp_path / "store"), "m"]
        peaks.append(int(subprocess.run(words, capture_output=True, check=True, timeout=120).stdout))
    assert peaks[1] < peaks[0] + 48
    assert peaks[1] < 300
