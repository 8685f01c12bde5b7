"""Write safetensors files (https://github.com/huggingface/safetensors, README, "Format")."""

import json
from collections.abc import Mapping
from pathlib import Path

from tools.models.weights import ITEM_SIZES, Recipe, Shapes, Weights, nbytes


def write_safetensors(path: Path, weights: Weights, metadata: Mapping[str, str] | None = None) -> None:
    """Write a file as the safetensors library does: wide dtypes first, then by name, header padded to 8.

    Args:
        path: the file to write; its folder is made if it is missing.
        weights: the tensors.
        metadata: the header's `__metadata__`.

    Raises:
        OSError: the file cannot be written.
    """
    names = sorted(weights, key=lambda name: (-ITEM_SIZES[weights.shapes[name][0]], name))
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in names:
        dtype, shape = weights.shapes[name]
        start, end = end, end + nbytes(dtype, shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            for block in weights.blocks(name):
                file.write(block.data)


def trained_like(
    shapes: Shapes,
    path: Path,
    seed: int,
    *,
    changed_fraction: float = 0.0,
    nudge: float = 0.0,
    change_seed: int = 1,
    header_note: str | None = None,
) -> None:
    """Write a safetensors file with made-up weights, or a changed version of the file with the same seed.

    Args:
        shapes: the tensors' dtypes (F32, F16, BF16 or I64) and shapes.
        path: the file to write.
        seed: decides all values.
        changed_fraction: how much of all bytes belongs to tensors drawn anew, 0 to 1.
        nudge: relative standard deviation of a small change to every float, such as 1e-3.
        change_seed: decides which tensors change, and how.
        header_note: text for `__metadata__`, which moves all tensors.

    Raises:
        OSError: the file cannot be written.
        ValueError: a dtype is unknown.
    """
    recipe = Recipe(seed, changed_fraction, nudge, change_seed)
    note = None if header_note is None else {"note": header_note}
    write_safetensors(path, Weights(shapes, recipe), note)
