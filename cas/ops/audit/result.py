"""What an audit found: the moves of each ref with who signed them, what is wrong, and what is worth knowing."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from cas.refs.reflog import Ref

NOT_CHECKED = "not checked"
"""The kind of the problem that no key is trusted here, so that nothing could be proven."""

LOST = "lost"
"""The kind of the problem that a floor tells of a ref whose log is gone."""

MANIFEST = "manifest"
"""The kind of the problem that a version which a ref names has no manifest, or another one than it says."""

RAN = "ran"
"""The kind of the problem that a receipt tells of a version which no signed entry names."""


@dataclass(frozen=True, slots=True)
class AuditedMove:
    """One move of a ref.

    Attributes:
        entry: its number in the log.
        name: of its entry in the log.
        at: when the entry was written, by the store's clock (RFC 3339).
        manifest: the version, `blake3:<64 hex>`; None for a removal, or where the entry cannot be read.
        created: when it was made, by the mover's clock; empty where the entry cannot be read.
        by: who moved the ref, as the entry says.
        program: with which program, as the entry says.
        reason: why, as the entry says.
        key_id: of the trusted key that signed the entry; empty for none.
        signers: ids of the keys whose signatures lie beside it, of which only `key_id` is proven.
        problem: why the entry does not count: `unreadable`, or a word of `SignatureError.problem`; empty when it does.
        error: the same as a sentence.
        is_lost: whether another move of the same number won.
        in_force: whether it is the last move.
    """

    entry: int
    name: str
    at: str
    manifest: str | None
    created: str
    by: str
    program: str
    reason: str
    key_id: str
    signers: tuple[str, ...]
    problem: str
    error: str
    is_lost: bool
    in_force: bool


@dataclass(frozen=True, slots=True)
class AuditedRef:
    """A tag or pin, and all moves that its log still has.

    Attributes:
        ref: the tag or pin.
        floor: the lowest number that its entry in force may have; 0 for none.
        moves: oldest first.
    """

    ref: Ref
    floor: int
    moves: tuple[AuditedMove, ...]

    @property
    def last(self) -> AuditedMove:
        """The move in force."""
        return self.moves[-1]

    def document(self) -> dict[str, object]:
        """Return it as `cas audit --json` shows it."""
        kind, first, second = self.ref
        return {
            "ref": str(self.ref),
            "model": self.ref.model,
            "tag": second if kind == "tags" else None,
            "deployment": first if kind == "pins" else None,
            "floor": self.floor or None,
            "moves": [{**asdict(move), "below_floor": move.entry < self.floor} for move in self.moves],
        }


@dataclass(frozen=True, slots=True)
class Run:
    """Restores and boots of one version in one deployment, as receipts tell them, and the move that released it.

    Attributes:
        deployment: where.
        model: of the version.
        manifest: the version, `blake3:<64 hex>`.
        count: how many receipts, those of failures too.
        last: when the newest of them was written, by the store's clock (RFC 3339).
        ref: the pin of this deployment, else the tag or pin that was moved last, by which it was released, in words.
        entry: the number of that move.
        at: when its entry was written, by the store's clock (RFC 3339).
        by: who made that move, as the entry says.
        key_id: of the trusted key that signed it; empty where no keys are trusted.
    """

    deployment: str
    model: str
    manifest: str
    count: int
    last: str
    ref: str
    entry: int
    at: str
    by: str
    key_id: str


@dataclass(frozen=True, slots=True)
class Unsigned:
    """Restores and boots of one version that no signed entry names, in one deployment, as receipts tell them.

    Attributes:
        deployment: where.
        model: of the version.
        manifest: the version, `blake3:<64 hex>`.
        count: how many receipts.
        first: when the oldest of them was written, by the store's clock (RFC 3339).
        last: when the newest was.
        reasons: why this version, as the receipts say; a few.
        hosts: where, as the receipts say; a few.
        is_certain: False where the log of a tag or pin of the model was trimmed before the newest of them, so that a
            signed entry may have gone.
    """

    deployment: str
    model: str
    manifest: str
    count: int
    first: str
    last: str
    reasons: tuple[str, ...]
    hosts: tuple[str, ...]
    is_certain: bool


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong, or may be.

    Attributes:
        kind: a word of `SignatureError.problem`, `unreadable`, or one of the words above.
        where: the ref, or the deployment of a receipt; empty for the whole store.
        text: what is wrong, and what to do.
    """

    kind: str
    where: str
    text: str


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found.

    Attributes:
        store: the URL or path of the store.
        name: the store's name, for which its entries are signed.
        trusted: the keys that are trusted here, by id, with their names.
        refs: the refs that were asked for, pins first.
        receipts: how many receipts were looked at.
        runs: which versions ran in which deployments, and who released them.
        unsigned: what ran unsigned.
        problems: what is wrong.
        notes: what is no fault and worth knowing.
    """

    store: str
    name: str
    trusted: dict[str, str]
    refs: tuple[AuditedRef, ...]
    receipts: int
    runs: tuple[Run, ...]
    unsigned: tuple[Unsigned, ...]
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...]

    def document(self) -> dict[str, object]:
        """Return it as `cas audit --json` shows it."""
        return {**asdict(self), "refs": [ref.document() for ref in self.refs], "ok": not self.problems}
