"""Read a store by pandas, datasets and torch: run by test_programs.py in an environment that has them.

Usage: `in_programs.py FOLDER`, with CAS_STORE set to an empty store. Prints as JSON what became of each step.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import datasets
import fsspec
import numpy as np
import pandas
import safetensors.torch
import torch
from torch.utils.data import DataLoader, Dataset

import cas
from cas.formats.safetensors import Tensor
from cas.ops.tensors.memory import DeviceMemory
from cas.ops.tensors.plan import Piece

FOLDER = Path(sys.argv[1])
TABLE = pandas.DataFrame({"number": range(2000), "word": [f"word {number % 7}" for number in range(2000)]})
# Of every type that safetensors writes for torch and numpy lacks, and some that it has.
TENSORS = {
    "bfloat16": torch.randn(300, 700).to(torch.bfloat16),
    "large": torch.randn(1200, 1024).to(torch.bfloat16),  # more than a MiB: a chunk of its own
    "e4m3": torch.randn(64, 3).to(torch.float8_e4m3fn),
    "e5m2": torch.randn(64, 3).to(torch.float8_e5m2),
    "float32": torch.randn(5, 1, 2),
    "scalar": torch.tensor(3.5, dtype=torch.float16),
    "empty": torch.empty(0, 3, dtype=torch.bfloat16),
    "bool": torch.tensor([True, False]),
    "uint16": torch.tensor([1, 65535], dtype=torch.uint16),
    "complex": torch.randn(4, dtype=torch.complex64),
}


def publish() -> None:
    """Publish tables in two formats, a checkpoint and tensors."""
    folder = FOLDER / "published"
    (folder / "data").mkdir(parents=True)
    TABLE[:1000].to_csv(folder / "data/0.csv", index=False)
    TABLE[1000:].to_csv(folder / "data/1.csv", index=False)
    TABLE.to_parquet(folder / "table.parquet", row_group_size=300)
    torch.save({"weight": TENSORS["float32"]}, folder / "checkpoint.pt")
    safetensors.torch.save_file(TENSORS, folder / "model.safetensors")
    (folder / "numbers.bin").write_bytes(np.arange(100_000, dtype="<u4").tobytes())
    cas.publish("m", cas.Source.from_folder(folder, "org/model"))


def by_pandas() -> None:
    both = [pandas.read_csv(f"cas://m:latest/data/{part}.csv") for part in (0, 1)]
    assert pandas.concat(both, ignore_index=True).equals(TABLE)
    store = {"store": str(cas.open_store().url)}
    column = pandas.read_parquet("cas://m/table.parquet", columns=["number"], storage_options=store)
    assert column.equals(TABLE[["number"]])


def by_datasets() -> None:
    files = "cas://m:latest/data/*.csv"
    cache = str(FOLDER / "datasets")
    # Two processes, which datasets forks from this one, where the store has been used.
    found = datasets.load_dataset("csv", data_files=files, split="train", cache_dir=cache, num_proc=2)
    assert found.to_pandas().equals(TABLE)
    streamed = datasets.load_dataset("csv", data_files=files, split="train", cache_dir=cache, streaming=True)
    assert [row["number"] for row in streamed.take(3)] == [0, 1, 2]


class Numbers(Dataset):
    """A data set of torch's that reads a file of a version at random."""

    def __init__(self) -> None:
        self.file = fsspec.open("cas://m:latest/numbers.bin").open()

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> int:
        self.file.seek(index * 4 * 2000)
        return int.from_bytes(self.file.read(4), "little")


def by_torch() -> None:
    with fsspec.open("cas://m:latest/checkpoint.pt") as file:
        assert torch.equal(torch.load(file)["weight"], TENSORS["float32"])
    numbers = Numbers()
    assert numbers[3] == 6000
    # A process that is forked from this one, where the store has been used.
    loaded = DataLoader(numbers, batch_size=4, num_workers=1, multiprocessing_context="fork")
    assert torch.cat(list(loaded)).tolist() == [index * 2000 for index in range(40)]


def load_tensors() -> None:
    found = cas.load_tensors("m")
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape, name
        assert same(found[name], tensor), name
    found["float32"] += 1  # memory of its own, which may be written
    assert same(cas.load_tensors("m", names="float32")["float32"], TENSORS["float32"])


def to_a_device() -> None:
    """A device is given its bytes chunk by chunk; this machine has none but its processor, and `meta` without bytes."""
    assert cas.load_tensors("m", device="meta")["e4m3"].device.type == "meta"
    tensors = [Tensor("a", "BF16", (3,), 0, 6), Tensor("b", "U8", (0,), 6, 6), Tensor("c", "U8", (4,), 6, 10)]
    memory = DeviceMemory(torch, "cpu", tensors)
    assert memory.memory([Piece(0, 0, 0, 6, False)]) is None
    data = memoryview(bytearray(np.arange(10, dtype="u1").tobytes()))
    memory.write([Piece(0, 4, 4, 2, False), Piece(2, 0, 6, 4, False)], data)
    memory.write([Piece(0, 0, 0, 4, True)], data[:4])
    a, b, c = memory.as_torch()
    assert a.view(torch.uint8).tolist() == [0, 1, 2, 3, 4, 5] and a.dtype == torch.bfloat16
    assert (b.shape, c.tolist()) == ((0,), [6, 7, 8, 9])
    for device in ("cuda:99", "nonsense"):
        try:
            cas.load_tensors("m", device=device)
        except cas.CasError as error:
            assert str(error).startswith(f"device={device!r} cannot be used: "), error
        else:
            raise AssertionError(f"{device} was used")


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors have the same bytes, NaNs among them."""
    return bool(torch.equal(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8)))


STEPS: tuple[Callable[[], None], ...] = (publish, by_pandas, by_datasets, by_torch, load_tensors, to_a_device)


def results() -> Iterator[tuple[str, str]]:
    """Take each step; yield its name and the error, or an empty text."""
    for step in STEPS:
        try:
            step()
        except Exception:
            yield step.__name__, traceback.format_exc()
        else:
            yield step.__name__, ""


if __name__ == "__main__":
    datasets.disable_progress_bars()
    print(json.dumps(dict(results())))
