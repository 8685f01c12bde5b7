"""What is wrong with an object of a store, in words that a person can act upon."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import msgspec

from cas.errors import FormatError, IntegrityError

Kind: TypeAlias = Literal["missing", "corrupt", "undecodable"]

KINDS: tuple[Kind, ...] = ("missing", "corrupt", "undecodable")


class Defect(NamedTuple):
    """What is wrong with one object.

    Attributes:
        kind: `missing` if something needs the object and the store lacks it; `corrupt` if it holds other bytes than its
            name says; `undecodable` if it cannot be read: cut short, no frame or document, or of a newer version.
        reason: the details, perhaps empty.
    """

    kind: Kind
    reason: str


class DamagedObject(msgspec.Struct, frozen=True):
    """One object with a defect.

    Attributes:
        kind: the kind of the defect.
        what: which kind of object it is.
        name: a digest, a version's reference, or a ref with the name of the entry.
        needed_by: a version and one of its files, or a ref; empty if nothing is known to need the object.
        reason: the details of the defect, perhaps empty.
    """

    kind: Kind
    what: Literal["chunk", "manifest", "ref"]
    name: str
    needed_by: str
    reason: str

    def __str__(self) -> str:
        needed = f", needed by {self.needed_by}" if self.needed_by else ", which no version needs"
        reason = f" ({self.reason})" if self.reason else ""
        return f"{self.what} {self.name}{needed if self.what != 'ref' else ''}{reason}"


def document_defect(error: IntegrityError | FormatError) -> Defect:
    """Return the defect of a manifest or of an entry of a ref that was not readable for this error."""
    return Defect("undecodable" if isinstance(error, FormatError) else "corrupt", str(error))
