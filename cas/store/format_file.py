"""format.json: what says that there is a store, and of which layout."""

from __future__ import annotations

import msgspec

from cas.errors import FormatError
from cas.formats.typed_json import JsonFormat
from cas.store.layout import FORMAT_KEY, LAYOUT_VERSION


class _Format(msgspec.Struct, frozen=True):
    """The content of format.json."""

    format: str
    version: int


_FORMATS = JsonFormat[_Format](_Format)


def document() -> bytes:
    """Return the bytes of the format.json that this program writes."""
    return _FORMATS.encode(_Format("cas", LAYOUT_VERSION))


def check(data: bytes, url: str) -> None:
    """Raise FormatError unless the bytes are a format.json of a layout that this program knows.

    Args:
        data: the object's bytes.
        url: of the store, named in errors.
    """
    try:
        found = _FORMATS.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise FormatError(f"{FORMAT_KEY} in {url} is not a store's: is this the right URL?") from None
    if found.format != "cas" or found.version != LAYOUT_VERSION:
        raise FormatError(
            f"store {url} has format {found.format!a} version {found.version}; this program knows "
            f"cas version {LAYOUT_VERSION}: upgrade model-cas"
        )
