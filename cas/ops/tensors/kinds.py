"""Which type of numpy or torch each element type of safetensors is.

Source: safetensors 0.8, safetensors/numpy.py and safetensors/torch.py (`_TYPES`); F8_E8M0 and F4 as its Rust code maps
them for torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cas.errors import InputError
from cas.formats.safetensors import Tensor

FRAMEWORKS = ("torch", "numpy")

NUMPY = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?", "C64": "<c8",
}  # fmt: skip
"""By the type in a header: numpy's type."""

TORCH = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool", "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz", "F4": "float4_e2m1fn_x2",
}  # fmt: skip
"""By the type in a header: the name of torch's type."""


def check_kinds(tensors: Iterable[tuple[str, Tensor]], framework: str) -> None:
    """Raise InputError when a tensor has a type that the framework does not have.

    Args:
        tensors: the path of its file, and the tensor.
        framework: one of FRAMEWORKS.
    """
    known = NUMPY if framework == "numpy" else TORCH
    for path, tensor in tensors:
        if tensor.dtype not in known:
            advice = "load it with framework='torch'" if tensor.dtype in TORCH else "restore the file"
            raise InputError(
                f"tensor {tensor.name[:100]!a} of {path} has the type {tensor.dtype}, which {framework} does not "
                f"have: {advice}, or leave it out by names="
            )


def torch_type(torch: Any, dtype: str) -> Any:
    """Return torch's type of elements; raise InputError when this version of torch does not have it."""
    found = getattr(torch, TORCH[dtype], None)
    if found is None:
        raise InputError(
            f"torch {torch.__version__} has no {TORCH[dtype]}, which {dtype} tensors need: install a newer"
        )
    return found


def torch_shape(tensor: Tensor) -> tuple[int, ...]:
    """Return the shape that torch gives a tensor: an element of its 4-bit type holds two of safetensors'."""
    return (*tensor.shape[:-1], tensor.shape[-1] // 2) if tensor.dtype == "F4" and tensor.shape else tensor.shape
