"""Who released a version: the entry in force of the tag or pin that a reference names."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from cas.refs.reference import Resolved


@dataclass(frozen=True, slots=True)
class Release:
    """A move of a tag or pin to the version.

    Attributes:
        ref: the tag or pin in words.
        entry: the move's number in the log.
        created: when, by the mover's clock (RFC 3339).
        by: who moved it, as the entry says.
        program: with which program, as the entry says.
        reason: why, as the entry says.
        key_id: of the trusted key that signed the entry; empty where no keys are trusted.
    """

    ref: str
    entry: int
    created: str
    by: str
    program: str
    reason: str
    key_id: str

    @property
    def shown(self) -> str:
        """The move in a few words."""
        return f"{self.ref}, entry {self.entry} by {self.by}{f', signed by {self.key_id}' if self.key_id else ''}"

    def document(self) -> dict[str, object]:
        """Return it as a document tells it."""
        return {**asdict(self), "key_id": self.key_id or None}


def release_of(resolved: Resolved) -> Release | None:
    """Return the move by which a reference names its version; None for a reference by digest."""
    move, reference = resolved.move, resolved.reference
    if move is None:
        return None
    entry = move.entry
    return Release(str(reference), move.number, entry.created, entry.by, entry.program, entry.reason, move.key_id)
