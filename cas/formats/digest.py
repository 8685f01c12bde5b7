"""BLAKE3-256 digests, which name chunks (digest of the plain bytes) and manifests (digest of the encoded bytes).

Inside documents and keys a digest is 64 lower-case hex digits; people read and write `blake3:` before them.
"""

from __future__ import annotations

import re
from typing import Annotated, TypeAlias

from blake3 import blake3
from msgspec import Meta

from cas.errors import InputError

PREFIX = "blake3:"
SHORT = 12
"""Hex digits of a digest or commit that people see."""

HEX_PATTERN = r"^[0-9a-f]{64}(?!\n)$"  # in Python alone, $ also matches before a last newline
Hex: TypeAlias = Annotated[str, Meta(pattern=HEX_PATTERN)]
Buffer: TypeAlias = bytes | bytearray | memoryview

_HEX = re.compile(r"[0-9a-f]{64}")
_WHOLE = rf"(?:{PREFIX})?(?<![0-9a-f])([0-9a-f]{{64}}|[0-9a-f]{{40}})(?![0-9a-f])"  # compiled when it is used


def hex_of(data: Buffer) -> str:
    """The digest of `data` as 64 lower-case hex digits."""
    return blake3(data).hexdigest()


def named(digest: str) -> str:
    """The form of a digest that people see: `blake3:` before its 64 hex digits."""
    return PREFIX + digest


def parse(text: str) -> str:
    """The 64 hex digits of `blake3:<64 hex>`; raises InputError for anything else."""
    digest = text.removeprefix(PREFIX)
    if digest == text or not _HEX.fullmatch(digest):
        raise InputError(f"{text!r} is not a digest: write blake3: and 64 lower-case hex digits")
    return digest


def short(text: str) -> str:
    """The same text with 12 hex digits for each whole digest or commit in it: `minilm@1f3a9c04b2d7`.

    A digest loses its `blake3:`, too; what is left can be typed back.
    """
    return re.sub(_WHOLE, lambda match: match[1][:SHORT], text)
