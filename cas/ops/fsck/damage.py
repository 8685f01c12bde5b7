"""What is wrong with a store, in words that a person can act upon."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import msgspec

from cas.errors import FormatError, IntegrityError

Kind: TypeAlias = Literal["missing", "corrupt", "undecodable"]

KINDS: tuple[Kind, ...] = ("missing", "corrupt", "undecodable")


class Trouble(NamedTuple):
    """What is wrong with one object.

    kind: `missing` when something needs it and it is not there, `corrupt` when it holds other bytes, `undecodable` when
    it cannot be read: cut short, no frame or document of ours, or of a newer version.
    """

    kind: Kind
    reason: str


class Damage(msgspec.Struct, frozen=True):
    """One damaged thing.

    what: `chunk`, `manifest` or `ref`. name: a digest, a version, or a ref with the entry. needed_by: a version and
    one of its files, or a ref; empty when nothing is known to need it.
    """

    kind: Kind
    what: Literal["chunk", "manifest", "ref"]
    name: str
    needed_by: str
    reason: str

    def __str__(self) -> str:
        needed = f", needed by {self.needed_by}" if self.needed_by else ", which no version needs"
        told = f" ({self.reason})" if self.reason else ""
        return f"{self.what} {self.name}{needed if self.what != 'ref' else ''}{told}"


def of_document(error: IntegrityError | FormatError) -> Trouble:
    """The trouble with a manifest or an entry of a ref that could not be read."""
    return Trouble("undecodable" if isinstance(error, FormatError) else "corrupt", str(error))
