"""Files to cut: safetensors, GGUF and zip files made by hand, and a cut that checks that the chunks cover the file."""

from __future__ import annotations

import functools
import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from itertools import accumulate
from pathlib import Path

import numpy as np

from cas.formats.chunking import CHUNK, Span, spans
from cas.formats.digest import hex_of
from tools.models.gguf import write_gguf
from tools.models.torchzip import write_torch_zip
from tools.models.weights import Array

MIB = 1 << 20


def cut(data: bytes) -> list[Span]:
    """Return the spans of a file's bytes; fail unless they cover the file."""
    found = list(spans(io.BytesIO(data), len(data)))
    ends = list(accumulate((span.size for span in found), initial=0))
    assert [span.offset for span in found] == ends[:-1]
    assert ends[-1] == len(data)
    assert all(1 <= span.size <= CHUNK for span in found)
    return found


def new_bytes(before: bytes, after: bytes) -> int:
    """Return how many bytes of `after` are in chunks that `before` does not have."""
    known = {hex_of(before[span.offset : span.offset + span.size]) for span in cut(before)}
    return sum(span.size for span in cut(after) if hex_of(after[span.offset : span.offset + span.size]) not in known)


def safetensors(tensors: Iterable[tuple[str, int]], metadata: Mapping[str, str] | None = None) -> tuple[bytes, int]:
    """Return a file of zeros with tensors of these dtypes and sizes (bytes), and the offset where its data begins."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for index, (dtype, size) in enumerate(tensors):
        header[f"t{index}"] = {"dtype": dtype, "shape": [size], "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(end), 8 + len(text)


def gguf(tensors: Mapping[str, Array], folder: Path) -> bytes:
    """Return a GGUF file of these tensors, written below `folder`."""
    write_gguf(folder / "x.gguf", tensors)
    return (folder / "x.gguf").read_bytes()


def torch_zip(tensors: Mapping[str, Array], folder: Path) -> bytes:
    """Return a zip of `torch.save` with these tensors, written below `folder`."""
    write_torch_zip(folder / "x.bin", tensors)
    return (folder / "x.bin").read_bytes()


class Pipe(io.BytesIO):
    """A file that zipfile cannot seek in, so that it writes sizes and checksums after the data."""

    def tell(self) -> int:
        raise OSError


def zipped(members: Iterable[tuple[bytes, int]], streamed: bool) -> bytes:
    """Return a zip of these members (data, compression method); streamed: sizes follow the data."""
    file = Pipe() if streamed else io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for index, (data, method) in enumerate(members):
            archive.writestr(str(index), data, method)
        archive.comment = b"a comment after the end record"
    return file.getvalue()


@functools.cache
def noise(size: int) -> bytes:
    """Return random bytes: trained weights without their exponents."""
    return np.random.default_rng(1).bytes(size)


def floats(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(count, np.float32)
