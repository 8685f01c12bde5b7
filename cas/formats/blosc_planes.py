"""C-Blosc undoes zstd and byte planes in one call, with SIMD, at almost twice the speed of zstd and numpy in turn.

A Blosc 1 chunk of one block, compressed with zstd and not split, is a header of 24 bytes and then exactly the zstd
frame of the planes (c-blosc, README_CHUNK_FORMAT.rst). A restore decodes nearly all chunks that way, without numpy.
"""

from __future__ import annotations

import ctypes
import struct
from importlib import util
from importlib.machinery import PathFinder
from types import ModuleType

# Blosc's header: version of the format, version of its zstd codec, flags, element width; plain size, block size, size
# of the whole chunk, offset of the block, length of the block.
_HEADER = struct.Struct("<BBBBIIIII")
_SHUFFLED_ZSTD_WHOLE = 0x01 | 4 << 5 | 0x10

HEADER_SIZE = _HEADER.size
"""Bytes before a zstd frame over which `unpack` writes Blosc's header for a moment."""


def _load_blosc() -> ModuleType | None:
    """Load the C extension of `blosc` without its package; None where there is none of that name.

    The package imports numpy, unittest and pickle and asks for the number of cores, which takes 0.1 s and more; the
    extension takes under 1 ms (docs/decisions/0030-blosc-decoder.md).
    """
    package = util.find_spec("blosc")
    spec = PathFinder.find_spec("blosc_extension", package.submodule_search_locations) if package else None
    if spec is None or spec.loader is None:
        return None
    extension = util.module_from_spec(spec)
    spec.loader.exec_module(extension)
    return extension


_blosc = _load_blosc()


def unpack(buffer: memoryview, width: int, out: memoryview) -> bool:
    """Write the plain bytes of a zstd frame of planes to `out`.

    Args:
        buffer: HEADER_SIZE bytes, which are overwritten and then restored, and the zstd frame after them. Its content
            size is the size of `out`.
        width: bytes per element.
        out: where the plain bytes go.

    Returns:
        False, with nothing written, when Blosc would misread the frame or is missing: use zstd and `planes.join` then.

    Raises:
        ValueError: zstd finds the frame damaged.
    """
    body, size = len(buffer) - HEADER_SIZE, len(out)
    # Blosc takes a block that is not smaller than its content for an uncompressed one.
    if not 0 < body < size or _blosc is None:
        return False
    overwritten = bytes(buffer[:HEADER_SIZE])
    _HEADER.pack_into(buffer, 0, 2, 1, _SHUFFLED_ZSTD_WHOLE, width, size, size, len(buffer), 20, body)
    target = ctypes.c_char.from_buffer(out)  # refuses read-only memory, and keeps `out` where it is
    # One flag of the C library serves all of the process, and `import blosc` anywhere in it clears the flag.
    _blosc.set_releasegil(True)
    try:
        # Blosc writes as many bytes as its header says: the size of `out`.
        _blosc.decompress_ptr(buffer, ctypes.addressof(target))
    except Exception as error:  # a class of the extension's own, another one once anything has imported `blosc`
        raise ValueError(str(error)) from error
    finally:
        buffer[:HEADER_SIZE] = overwritten
    return True
