"""What a core takes to cut bytes by their content: as here, and by the libraries of PyPI on the same bytes.

`taskset -c 1 nice -n 19 python -m tools.bench.cutters`, with `pip install fastcdc pyfastcdc pith-cdc tilecdc` for their
rows; a library that is missing is left out. Each cuts 10^9 bytes in memory into chunks of 2 to 8 MiB, or the nearest
to that which it allows: random bytes, and the trained weights of all-MiniLM-L6-v2, repeated.
"""

from __future__ import annotations

import argparse
import importlib
import io
import time
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from cas.formats.content_cuts import MAX, MIN, cuts
from tools.models import minilm

_SIZE = 10**9
_AVERAGE = 4 * 1024 * 1024
_LARGEST_MIN = 1024 * 1024  # pyfastcdc and pith-cdc refuse a larger minimum

Cutter = Callable[[bytes], Iterable[int]]
"""Returns the sizes of the chunks of its argument."""


def main() -> None:
    """Print GB per CPU second (the best round) and MiB of the average chunk, for each cutter and kind of bytes."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.cutters", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds to take the best of (default 5)")
    rounds = parser.parse_args().rounds
    print("| bytes | cutter | GB/s | MiB a chunk |\n|---|---|---|---|")
    for kind, data in inputs():
        best: dict[str, float] = {}
        sizes: dict[str, list[int]] = {}
        found = cutters()
        for _ in range(rounds):
            for name, cut in found.items():
                begun = time.process_time()
                sizes[name] = list(cut(data))
                best[name] = min(time.process_time() - begun, best.get(name, float("inf")))
        for name, seconds in best.items():
            assert sum(sizes[name]) == len(data), name
            average = len(data) / len(sizes[name]) / 2**20
            print(f"| {kind} | {name} | {len(data) / seconds / 1e9:.2f} | {average:.3g} |", flush=True)


def inputs() -> Iterable[tuple[str, bytes]]:
    """Yield the kinds of bytes, one after the other, as each takes a gigabyte of memory."""
    yield "random", np.random.default_rng(0).bytes(_SIZE)
    weights = minilm.model_dir().joinpath("model.safetensors").read_bytes()
    yield "float32 weights", (weights * (_SIZE // len(weights) + 1))[:_SIZE]


def cutters() -> Mapping[str, Cutter]:
    """Return ours, and those of the libraries that are installed, by name."""
    found: dict[str, Cutter] = {"content_cuts": lambda data: cuts(io.BytesIO(data), 0, len(data))}
    for name, make in _LIBRARIES.items():
        try:
            found[name] = make()
        except ImportError:
            continue
    return found


def _fastcdc() -> Cutter:
    cut = importlib.import_module("fastcdc").fastcdc
    return lambda data: (chunk.length for chunk in cut(data, MIN, _AVERAGE, MAX))


def _pyfastcdc() -> Cutter:
    cutter = importlib.import_module("pyfastcdc").FastCDC(_AVERAGE, min_size=_LARGEST_MIN, max_size=MAX)
    return lambda data: (chunk.length for chunk in cutter.cut_buf(data))


def _pith_cdc() -> Cutter:
    cut = importlib.import_module("pith_cdc").chunk
    return lambda data: (chunk.length for chunk in cut(data, _LARGEST_MIN, _AVERAGE, MAX))


def _tilecdc() -> Cutter:
    module = importlib.import_module("tilecdc")
    average: int = module.MAX_AVG_SIZE  # 32 KiB
    cutter = module.Chunker(min_size=average // 2, avg_size=average, max_size=average * 2)
    sizes: Cutter = cutter.chunk
    return sizes


_LIBRARIES: Mapping[str, Callable[[], Cutter]] = {
    "fastcdc": _fastcdc,
    "pyfastcdc": _pyfastcdc,
    "pith-cdc": _pith_cdc,
    "tilecdc": _tilecdc,
}

if __name__ == "__main__":
    main()
