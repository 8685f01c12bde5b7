"""JSON documents of a fixed type: decoded and encoded by objects that are made when the type's module is imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Literal, TypeVar

import msgspec

T = TypeVar("T")


class JsonFormat(Generic[T]):
    """The decoder and the encoder of one type of document; any number of threads may use them at once.

    msgspec builds a description of a type when it first makes a decoder for it, or first decodes it. It crashes
    (0.22.0, a segmentation fault) if a second thread decodes the type meanwhile. So make the format of a type at the
    top level of its module, because an import runs in one thread. That takes 0.1 ms, and 1.5 ms for a manifest, which
    a restore would otherwise spend at its first manifest. The functions `decode` and `encode` of msgspec.json, which
    take the type with each call, are used nowhere.

    Attributes:
        decode: returns the document that some bytes encode; raises msgspec.DecodeError, RecursionError or
            UnicodeDecodeError.
        encode: returns the bytes of a document.
    """

    def __init__(self, kind: Any, *, order: Literal["deterministic", "sorted"] | None = None) -> None:
        """Make both.

        Args:
            kind: the type `T` of the documents, which may be a union.
            order: of the keys of dictionaries when a document is encoded, as msgspec takes it.
        """
        self.decode: Callable[[bytes | memoryview | msgspec.Raw], T] = msgspec.json.Decoder(kind).decode
        self.encode: Callable[[T], bytes] = msgspec.json.Encoder(order=order).encode
