"""Read just enough of a file to know where its tensors or members lie, whatever kind of file it is.

Sources: the safetensors format (github.com/huggingface/safetensors, README); the other kinds have modules of their own.
Nothing here loads a tensor or unpickles anything.
"""

from __future__ import annotations

import struct

import msgspec

from cas.formats.runs import (
    LARGE,
    MAX_HEADER,
    MAX_TENSORS,
    Budget,
    Run,
    Section,
    SeekableFile,
    Start,
    Unknown,
    between,
    read_at,
)
from cas.formats.typed_json import JsonFormat

_SAFETENSORS_WIDTHS = {
    "F64": 8, "I64": 8, "U64": 8, "C64": 4, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
}  # fmt: skip

# How deep a header may nest; those of safetensors nest three deep. Without a limit of our own it would depend on how
# deep Python's stack is at that moment whether the header can be read, and with it where the file is cut.
_DEEPEST = 100
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))

_TAR_MAGIC = slice(257, 262)  # where a tar says `ustar`


class _Tensor(msgspec.Struct, frozen=True, gc=False):
    """An entry of a safetensors header; a field of the entry `__metadata__`, if it has one, is any text."""

    dtype: str = ""
    data_offsets: tuple[int, int] | str = (0, 0)


_HEADERS = JsonFormat[dict[str, _Tensor]](dict[str, _Tensor])


def runs(file: SeekableFile, size: int) -> list[Run] | None:
    """The runs of a file of a known kind, which cover it from byte 0 to `size`; None when it is of no known kind."""
    budget = Budget()
    found = _runs(file, size, budget, in_tar=False)
    if found is None or not any(run.by_content and run.size >= LARGE for run in found):
        return found
    return [inner for run in found for inner in _within(file, run, budget)]


def _within(file: SeekableFile, run: Run, budget: Budget) -> list[Run]:
    """The runs of a tar's member that is of a known kind itself; any other run as it is."""
    if run.alone or not run.by_content:
        return [run]
    inner = _runs(Section(file, run.offset, run.size), run.size, budget, in_tar=True)
    return [run] if inner is None else [part._replace(offset=run.offset + part.offset) for part in inner]


def _runs(file: SeekableFile, size: int, budget: Budget, *, in_tar: bool) -> list[Run] | None:
    file.seek(0)
    magic = file.read(512)
    # Each module is imported for the kind of file that needs it: a restore cuts no file, or a few of one kind.
    try:
        if magic[:4] == b"GGUF":
            from cas.formats import gguf

            starts = gguf.starts(file, budget)
        elif magic[:4] == b"PK\x03\x04":
            from cas.formats import zip_files

            starts = zip_files.starts(file, size, budget)
        elif magic[8:9] == b"{":
            starts = _safetensors(file, size)
        elif magic[_TAR_MAGIC] == b"ustar" and not in_tar:
            from cas.formats import tar_files

            starts = tar_files.starts(file, size, budget)
        else:
            from cas.formats import onnx_files

            starts = onnx_files.starts(file, size, budget)
        return between(starts, size)
    except (Unknown, msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, struct.error):
        return None


def _safetensors(file: SeekableFile, size: int) -> list[Start]:
    length = int.from_bytes(read_at(file, 0, 8), "little")
    if length > min(MAX_HEADER, size - 8):
        raise Unknown
    text = read_at(file, 8, length)
    if text.count(b"{") > MAX_TENSORS or _nests_too_deep(text):
        raise Unknown
    header = _HEADERS.decode(text)
    data = 8 + length
    return [
        Start(data + tensor.data_offsets[0], _SAFETENSORS_WIDTHS.get(tensor.dtype, 1))
        for tensor in header.values()
        if not isinstance(tensor.data_offsets, str)
        and tensor.data_offsets[0] < tensor.data_offsets[1]  # an empty tensor would give its width to the next one
    ] or [Start(data, None)]


def _nests_too_deep(text: bytes) -> bool:
    """Whether a JSON text nests deeper than a header may; brackets within its strings count, too."""
    depth = 0
    for bracket in text.translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"{[" else -1
        if depth > _DEEPEST:
            return True
    return False
