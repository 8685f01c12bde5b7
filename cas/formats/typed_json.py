"""Decoding JSON into types, from any thread."""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_decoders: dict[type, msgspec.json.Decoder[Any]] = {}
_building = threading.Lock()


def decode_json(data: bytes, kind: type[T]) -> T:
    """Return the value of type `kind` that `data` encodes; raise as `msgspec.json.decode` does.

    msgspec builds a description of a type when it first decodes that type. It crashes (0.22.0, a segmentation fault) if
    a second thread decodes the type meanwhile. So decoders are built here, by one thread at a time.
    """
    decoder = _decoders.get(kind)
    if decoder is None:
        with _building:
            decoder = _decoders.setdefault(kind, msgspec.json.Decoder(kind))
    value: T = decoder.decode(data)
    return value
