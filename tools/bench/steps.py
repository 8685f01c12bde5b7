"""Measure the CPU time of each single step of a restore and a publish: `python -m tools.bench.steps`.

The sum of the steps is the least CPU time that a gigabyte can take; what a whole process takes beyond it is start-up,
waiting threads and the kernel. Where two ways lead to one result, both are shown.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import queue
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import zstandard

from cas.bucket import Kind, open_bucket
from cas.bucket.retry import RetryPolicy
from cas.formats import content_cuts, planes
from cas.formats.chunking import CHUNK
from cas.formats.digest import hex_of
from cas.formats.frame import Decoder, Encoder
from cas.local.fs import start_writing_out, write_all
from cas.parallel import ReusableBuffer
from tools.servers.seaweed import SeaweedFS

_CHUNKS = 96
_IN_FLIGHT = 14
_BUCKET = "steps"


def main() -> None:
    """Measure all steps, and print CPU seconds (user and kernel) of this process alone for 10^9 plain bytes."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.steps", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds to take the median of (default 5)")
    rounds = parser.parse_args().rounds
    plain = np.random.default_rng(0).normal(0, 0.02, CHUNK // 4).astype(np.float32).tobytes()
    with tempfile.TemporaryDirectory(prefix="cas-steps-") as folder, SeaweedFS(Path(folder, "seaweed")) as server:
        server.create_bucket(_BUCKET)
        steps = {**_codecs(plain), **_disk(plain, Path(folder)), **_network(plain, server)}
        costs: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(rounds):
            for name, step in steps.items():
                costs[name].append(_cost(step))
    print(f"{'CPU seconds for 10^9 plain bytes':56}{'median':>8}{'least':>8}{'most':>8}")
    for name, seconds in costs.items():
        print(f"{name:56}{statistics.median(seconds):8.2f}{min(seconds):8.2f}{max(seconds):8.2f}")


def _cost(step: Callable[[], int]) -> float:
    begun = time.process_time()
    size = step()
    return (time.process_time() - begun) / size * 1e9


def _repeated(step: Callable[[], object], times: int = 24) -> Callable[[], int]:
    def run() -> int:
        for _ in range(times):
            step()
        return times * CHUNK

    return run


def _codecs(plain: bytes) -> Mapping[str, Callable[[], int]]:
    encoder, decoder, buffer = Encoder(), Decoder(), ReusableBuffer()
    frame = bytearray(encoder.encode(plain, 4))
    body = memoryview(frame)[24:]
    planed, out = bytearray(CHUNK), memoryview(bytearray(CHUNK))
    planes.split(plain, 4, memoryview(planed))
    compressor, decompressor = zstandard.ZstdCompressor(level=1), zstandard.ZstdDecompressor()

    def inflate() -> None:
        with decompressor.stream_reader(body) as reader:
            reader.readinto(planed)

    whole = plain * 8

    def by_content() -> int:
        return sum(content_cuts.cuts(io.BytesIO(whole), 0, len(whole)))

    return {
        "restore: open a frame (Blosc)": _repeated(lambda: decoder.decode(frame, CHUNK)),
        "  the same in two: decompress (zstd)": _repeated(inflate),
        "  the same in two: join the planes (numpy)": _repeated(lambda: planes.join(planed, 4, out)),
        "restore, publish: BLAKE3": _repeated(lambda: hex_of(plain)),
        "publish: make a frame": _repeated(lambda: encoder.encode_into(buffer, plain, 4)),
        "  of that: split into planes (numpy)": _repeated(lambda: planes.split(plain, 4, out)),
        "  instead of the rest: zstd level 1 as it is": _repeated(lambda: compressor.compress(planed)),
        "publish: cut by content, in memory": by_content,
        "publish: sha256": _repeated(lambda: hashlib.sha256(plain)),
    }


def _disk(plain: bytes, folder: Path) -> Mapping[str, Callable[[], int]]:
    path, buffer = folder / "file", memoryview(bytearray(CHUNK))

    def write(write_at: Callable[[int, bytes, int], object]) -> int:
        path.unlink(missing_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.ftruncate(fd, _CHUNKS * CHUNK)
        for at in range(0, _CHUNKS * CHUNK, CHUNK):
            write_at(fd, plain, at)
            start_writing_out(fd, at, CHUNK)
        os.fsync(fd)
        os.close(fd)
        return _CHUNKS * CHUNK

    def read() -> int:
        fd = os.open(path, os.O_RDONLY)
        for at in range(0, _CHUNKS * CHUNK, CHUNK):
            os.preadv(fd, [buffer], at)
        os.close(fd)
        return _CHUNKS * CHUNK

    return {
        "restore: write a file and sync it": lambda: write(write_all),
        "  the same with one write for each chunk": lambda: write(os.pwrite),
        "publish: read a file from memory": read,
    }


def _network(plain: bytes, server: SeaweedFS) -> Mapping[str, Callable[[], int]]:
    frame = Encoder().encode(plain, 4)
    os.environ.update({k: v for k, v in server.env(_BUCKET).items() if k.startswith("AWS_")})
    os.environ.pop("AWS_CA_BUNDLE", None)
    bucket = open_bucket(f"s3://{_BUCKET}", RetryPolicy())
    keys = [f"chunks/{number}" for number in range(_CHUNKS)]
    _together(keys, lambda key: bucket.put(key, frame, Kind.CHUNK))
    buffers: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
    for _ in range(_IN_FLIGHT):
        buffers.put(memoryview(bytearray(len(frame))))

    def into(key: str) -> None:
        buffer = buffers.get()
        bucket.get_into(key, buffer)
        buffers.put(buffer)

    def all_of(step: Callable[[str], object]) -> Callable[[], int]:
        return lambda: _together(keys, step)

    return {
        f"restore: receive frames, {_IN_FLIGHT} in flight (into buffers)": all_of(into),
        "  the same by obstore, asynchronous": all_of(lambda key: bucket.get(key, len(frame))),
        "publish: send frames (signed, plain http)": all_of(
            lambda key: bucket.put(f"{key}-{os.urandom(4).hex()}", frame, Kind.CHUNK)
        ),
    }


def _together(keys: list[str], step: Callable[[str], object]) -> int:
    left: queue.SimpleQueue[str] = queue.SimpleQueue()
    for key in keys:
        left.put(key)

    def work() -> None:
        while True:
            try:
                step(left.get_nowait())
            except queue.Empty:
                return

    threads = [threading.Thread(target=work) for _ in range(_IN_FLIGHT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(keys) * CHUNK


if __name__ == "__main__":
    main()
