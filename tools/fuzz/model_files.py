"""Targets for files of models: they are cut into chunks, and looked at as a publish looks at them."""

from __future__ import annotations

import io
from unittest import mock

from cas.formats import (
    chunking,
    content_cuts,
    gguf,
    loadable,
    onnx_files,
    safetensors,
    tar_files,
    tensor_files,
    zip_files,
)

PRELOADED = (content_cuts, gguf, zip_files)
"""Modules that our code imports only when it needs them: imported here, they are instrumented, too."""


def tensors(data: bytes) -> None:
    """Cut a file into chunks: they cover it without gaps."""
    at = 0
    for span in chunking.spans(io.BytesIO(data), len(data)):
        assert span.offset == at
        assert 0 < span.size <= chunking.CHUNK
        at += span.size
    assert at == len(data)


def members(data: bytes) -> None:
    """Cut a tar or an ONNX model whose members count as large from 16 bytes on."""
    with (
        mock.patch.object(tar_files, "LARGE", 16),
        mock.patch.object(onnx_files, "LARGE", 16),
        mock.patch.object(tensor_files, "LARGE", 16),
    ):
        tensors(data)


def tar(data: bytes) -> None:
    """Cut a tar, with the checksums that its headers should have."""
    blocks = bytearray(data)
    for at in range(0, len(blocks) - 511, 512):
        if blocks[at + 257 : at + 262] == b"ustar":
            blocks[at + 148 : at + 156] = b" " * 8
            blocks[at + 148 : at + 156] = b"%06o\0 " % sum(blocks[at : at + 512])
    members(bytes(blocks))


def safetensors_file(data: bytes) -> None:
    tensors(data)
    loadable.check_complete(io.BytesIO(data), len(data), "model.safetensors")
    header = safetensors.parse(data[: safetensors.length(data[:8], len(data))], len(data))
    for tensor in header.tensors:
        assert 0 <= tensor.start <= tensor.end <= len(data) - header.data
    again = safetensors.render(header.tensors, header.metadata)
    written = safetensors.parse(again, len(again) + len(data) - header.data)
    assert (written.tensors, written.metadata) == (header.tensors, header.metadata)


def zip_file(data: bytes) -> None:
    tensors(data)
    loadable.check_no_page(io.BytesIO(data), "pytorch_model.bin")
    loadable.describe_placeholder(data[: loadable.TEXT_LIMIT])
    loadable.check_complete(io.BytesIO(data), len(data), "pytorch_model.bin")
