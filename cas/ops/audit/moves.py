"""Every move of some refs, with who signed it and why it does not count, if it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cas.errors import SignatureError
from cas.formats.manifest import timestamp
from cas.ops.audit.result import AuditedMove, AuditedRef
from cas.refs.past_moves import PastMove, past_moves
from cas.refs.reflog import RefLog
from cas.store.store import Store


def audited_refs(store: Store, logs: Sequence[RefLog]) -> list[AuditedRef]:
    """Return every move of some refs, without those that a collector trims meanwhile; pins first.

    Args:
        store: where the logs are.
        logs: of the refs.
    """
    floors = store.trust.floors if store.trust else {}
    found = []
    for ref, past in past_moves(logs).items():
        if past:
            moves = [*(_audited(move) for move in past[:-1]), _in_force(store, str(ref), _audited(past[-1]))]
            found.append(AuditedRef(ref, floors.get(str(ref), 0), tuple(moves)))
    return sorted(found, key=lambda audited: (audited.ref.kind != "pins", audited.ref))


def _audited(past: PastMove) -> AuditedMove:
    said = past.claimed if past.problem else past.move.entry
    return AuditedMove(
        entry=past.number,
        name=past.move.name,
        at=timestamp(past.move.at),
        manifest=said.manifest if said else None,
        created=said.created if said else "",
        by=said.by if said else "",
        program=said.program if said else "",
        reason=said.reason if said else "",
        key_id=past.move.key_id,
        signers=past.signers,
        problem=past.problem,
        error=past.error,
        is_lost=past.lost,
        in_force=False,
    )


def _in_force(store: Store, ref: str, move: AuditedMove) -> AuditedMove:
    """Return the last move, which does not count where it lies below the floor."""
    move = replace(move, in_force=True)
    if store.trust is None or move.problem:
        return move
    from cas.refs.floors import check_floor

    try:
        check_floor(store, store.trust, ref, move.name)
    except SignatureError as error:
        return replace(move, problem=error.problem, error=str(error))
    return move
