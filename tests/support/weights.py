"""Small files in the formats of weights, each with other content."""

from __future__ import annotations

import io
import json
import os
import zipfile


def tensors(size: int, note: str = "") -> bytes:
    """Return a safetensors file with one tensor of `size` bytes, and a note in its metadata if one is given."""
    values: dict[str, object] = {"__metadata__": {"n": note}} if note else {}
    header = json.dumps({**values, "w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return len(header).to_bytes(8, "little") + header + os.urandom(size)


def archive() -> bytes:
    """Return a zip archive such as torch.save writes, with one file of random bytes."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr("archive/data.pkl", os.urandom(5000))
    return made.getvalue()
