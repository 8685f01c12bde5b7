"""The memory of tensors: of the machine, or of a device of torch's. Each tensor has memory of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from cas.errors import FormatError, InputError
from cas.formats.safetensors import Tensor
from cas.ops.tensors.kinds import NUMPY, torch_shape, torch_type
from cas.ops.tensors.plan import Piece, decoded_in_place


class Memory(Protocol):
    """Takes the chunks of tensors, from several threads at once, and then gives the tensors."""

    def memory(self, pieces: Sequence[Piece]) -> memoryview | None:
        """Return the memory that a chunk of these pieces is decoded into; None for any other than a tensor's."""

    def write(self, pieces: Sequence[Piece], plain: memoryview, /) -> None:
        """Copy a verified chunk to all pieces in whose memory it is not yet."""


class HostMemory:
    """Tensors in the machine's memory. A chunk that belongs to one tensor alone is decoded right there."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        """Reserve the memory, whose pages the machine gives when they are first written."""
        self._tensors = tensors
        self._arrays = [np.empty(tensor.size, np.uint8) for tensor in tensors]
        self._views = [array.data for array in self._arrays]

    def memory(self, pieces: Sequence[Piece]) -> memoryview | None:
        piece = decoded_in_place(pieces)
        return piece and self._view(piece)

    def write(self, pieces: Sequence[Piece], plain: memoryview, /) -> None:
        in_place = decoded_in_place(pieces)
        for piece in pieces:
            if piece is not in_place:
                self._view(piece)[:] = plain[piece.start : piece.start + piece.size]

    def as_numpy(self) -> list[Any]:
        """Return the tensors as arrays of numpy's."""
        return [numpy_array(tensor, array) for tensor, array in zip(self._tensors, self._arrays, strict=True)]

    def as_torch(self, torch: Any) -> list[Any]:
        """Return the tensors as tensors of torch's, in the same memory."""
        return [
            torch_tensor(torch, tensor, torch.from_numpy(array))
            for tensor, array in zip(self._tensors, self._arrays, strict=True)
        ]

    def _view(self, piece: Piece) -> memoryview:
        return self._views[piece.tensor][piece.offset : piece.offset + piece.size]


class DeviceMemory:
    """Tensors in the memory of a device of torch's. The machine's memory holds the chunks on their way alone."""

    def __init__(self, torch: Any, device: str, tensors: Sequence[Tensor]) -> None:
        """Reserve the memory; raise InputError when the device cannot be used or has too little."""
        self._torch, self._tensors = torch, tensors
        try:
            place = torch.device(device)
            self._bytes = [torch.empty(tensor.size, dtype=torch.uint8, device=place) for tensor in tensors]
        except (RuntimeError, AssertionError) as error:  # torch without CUDA raises the second
            raise InputError(f"device={device!r} cannot be used: {str(error).splitlines()[0]}") from error

    def memory(self, pieces: Sequence[Piece]) -> memoryview | None:
        return None

    def write(self, pieces: Sequence[Piece], plain: memoryview, /) -> None:
        chunk = self._torch.frombuffer(plain, dtype=self._torch.uint8)
        for piece in pieces:
            target = self._bytes[piece.tensor][piece.offset : piece.offset + piece.size]
            target.copy_(chunk[piece.start : piece.start + piece.size])

    def as_torch(self) -> list[Any]:
        """Return the tensors."""
        return [
            torch_tensor(self._torch, tensor, data) for tensor, data in zip(self._tensors, self._bytes, strict=True)
        ]


def numpy_array(tensor: Tensor, data: Any) -> Any:
    """Return a tensor as an array of numpy's with the bytes of `data`, an array of bytes."""
    return _fitting(tensor, tensor.shape, lambda: data.view(NUMPY[tensor.dtype]))


def torch_tensor(torch: Any, tensor: Tensor, data: Any) -> Any:
    """Return a tensor of torch's with the bytes of `data`, a tensor of bytes."""
    kind = torch_type(torch, tensor.dtype)
    if not tensor.size:
        return torch.empty(torch_shape(tensor), dtype=kind, device=data.device)
    return _fitting(tensor, torch_shape(tensor), lambda: data.view(kind))


def _fitting(tensor: Tensor, shape: tuple[int, ...], typed: Callable[[], Any]) -> Any:
    """Return the elements in their shape. A header of a type that cas does not know may promise another number."""
    try:
        return typed().reshape(shape)
    except (ValueError, RuntimeError):
        raise FormatError(
            f"tensor {tensor.name[:100]!a} has {tensor.size} bytes, which is not its shape's size"
        ) from None
