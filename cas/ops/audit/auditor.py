"""Audit: who released what when, what of it is not signed, and what ran without being signed.

Order of steps:
    1. list the refs, and read every entry with its signature: is it by a trusted key, for this entry of this store
    2. of each ref the entry in force: does it count, is it not below the floor, is the manifest there that it names
    3. floors of refs that have no log: somebody deleted it
    4. past entries that did not count, though the ref was signed before them: somebody wrote past the key
    5. receipts of versions that no signed entry names

Why in this order: a version counts as signed when any verified entry of its model names it, so receipts come last.
Nothing is written, and nothing ends an audit but a store that cannot be read: it is for what is wrong.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence

from cas import events, host
from cas.errors import FormatError, IntegrityError, NotFoundError
from cas.formats.digest import parse
from cas.formats.manifest import timestamp
from cas.formats.outline import outline
from cas.ops.audit.moves import audited_refs
from cas.ops.audit.result import LOST, MANIFEST, NOT_CHECKED, RAN, Audit, AuditedMove, AuditedRef, Problem, Unsigned
from cas.ops.audit.runs import MOST, Receipts, Released
from cas.parallel import for_each
from cas.refs import reflog
from cas.refs.likely import absent
from cas.refs.ref_named import ref_named
from cas.refs.reflog import Ref, RefLog
from cas.store.layout import VersionId
from cas.store.manifests import read_manifest
from cas.store.store import Store, open_store

SINCE = datetime.timedelta(days=30)
"""How far back receipts and past moves are looked at: for so long a receipt retains its version (`cas.ops.gc.live`)."""


def audit(
    reference: str | None = None,
    store: Store | str | None = None,
    *,
    since: datetime.timedelta = SINCE,
    limits: host.Limits | None = None,
    on_event: events.Listener = events.log,
) -> Audit:
    """Say who released what, and what is wrong with it.

    Args:
        reference: a tag or a pin; None for all.
        store: an open store, its URL, or None for the default.
        since: receipts, and past moves that did not count, that are older are left alone.
        limits: how many requests are made at once.
        on_event: hears what happens.

    Raises:
        InputError: the reference names a version by its digest.
        NotFoundError: the store has no such ref, and no floor tells of one.
        CasError: the store cannot be read.
    """
    store = open_store(store)
    requests = (limits or host.Limits()).requests
    only = ref_named(store, reference, must_exist=False) if reference is not None else None
    on_event(events.Phase("audit"))
    store.check_format()
    begun = datetime.datetime.now(datetime.UTC)
    found = audited_refs(store, _logs(store, only))
    shown = [ref for ref in found if only in (None, ref.ref)]
    problems = [] if store.trust else [_not_checked(store)]
    problems += [problem for ref in shown for problem in _of_last_move(ref)]
    problems += _lost_manifests(store, shown, requests)
    problems += _lost_logs(store, found, only)
    if only is not None and not shown and not problems:
        raise absent(store, only)
    receipts = Receipts(store, only.first if only is not None and only.kind == "pins" else "", begun - since)
    released = _released(found)
    runs = receipts.released(released)
    unsigned: list[Unsigned] = []
    notes: list[Problem] = []
    if store.trust:
        for ref in shown:
            past, young = _past_moves(ref, timestamp(begun - since))
            problems += young
            notes += past
        trimmed = _trimmed(found)
        unsigned = receipts.unsigned(
            released,
            lambda model: only is None or only.model == model,
            lambda model: trimmed.get(model, ""),
            requests,
        )
        for run in unsigned:
            (problems if run.is_certain else notes).append(_ran(run))
    notes += _unread(receipts)
    return Audit(
        store=store.where,
        name=store.name,
        trusted={key_id: store.trust.names.get(key_id, "") for key_id in sorted(store.trust.keys)}
        if store.trust
        else {},
        refs=tuple(shown),
        receipts=receipts.listed
        if only is None
        else sum(run.count for run in runs) + sum(run.count for run in unsigned),
        runs=tuple(runs),
        unsigned=tuple(unsigned),
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _logs(store: Store, only: Ref | None) -> list[RefLog]:
    """Return the logs of all refs; with `only`, of those of its model, as any of them may have named what ran."""
    if only is None:
        return reflog.logs(store)
    pins = [log for log in reflog.logs(store, "pins") if log.ref.model == only.model]
    return [*reflog.logs(store, "tags", only.model), *pins]


def _not_checked(store: Store) -> Problem:
    return Problem(
        NOT_CHECKED,
        "",
        "no keys are trusted here, so that nothing was checked: name them with CAS_TRUSTED_KEYS, or `cas trust add`",
    )


def _of_last_move(ref: AuditedRef) -> Iterator[Problem]:
    if ref.last.problem:
        yield Problem(ref.last.problem, str(ref.ref), ref.last.error)


def _lost_manifests(store: Store, found: Sequence[AuditedRef], requests: int) -> list[Problem]:
    """Return a problem for each ref whose version has no manifest, or a damaged one."""
    named = {ref.ref: VersionId(ref.ref.model, parse(ref.last.manifest)) for ref in found if ref.last.manifest}
    errors: dict[VersionId, str] = {}

    def read(version: VersionId) -> None:
        try:
            read_manifest(store, version, outline)
        except (IntegrityError, FormatError, NotFoundError) as error:
            errors[version] = str(error)

    if versions := set(named.values()):
        for_each(read, versions, threads=min(requests, len(versions)))
    return [Problem(MANIFEST, str(ref), errors[version]) for ref, version in named.items() if version in errors]


def _lost_logs(store: Store, found: Sequence[AuditedRef], only: Ref | None) -> list[Problem]:
    """Return a problem for each floor of a ref that has no entries."""
    if store.trust is None:
        return []
    known = {str(ref.ref) for ref in found}
    return [
        Problem(
            LOST,
            ref,
            f"{ref} has no entries in {store.url}, and {store.trust.where[ref]} sets its floor to {floor}: somebody "
            "deleted its log; move it anew where its key is, which numbers the entry from the floor on",
        )
        for ref, floor in sorted(store.trust.floors.items())
        if ref not in known and (only is None or ref == str(only))
    ]


def _past_moves(ref: AuditedRef, since: str) -> tuple[list[Problem], list[Problem]]:
    """Return the past moves that did not count though the ref was signed before: the old ones, and those since a time.

    Moves before the first signed one are of the time when nothing was signed.
    """
    found: dict[tuple[bool, str], list[AuditedMove]] = {}
    is_signed = False
    for move in ref.moves[:-1]:
        is_signed = is_signed or not move.problem
        if is_signed and move.problem:
            found.setdefault((move.at > since, move.problem), []).append(move)
    told = {where: Problem(where[1], str(ref.ref), _did_not_count(ref.ref, moves)) for where, moves in found.items()}
    return [told[where] for where in told if not where[0]], [told[where] for where in told if where[0]]


def _did_not_count(ref: Ref, moves: Sequence[AuditedMove]) -> str:
    """Return in words that past moves did not count: whoever writes one past the key can write thousands."""
    first, last = moves[0], moves[-1]
    if len(moves) == 1:
        what = f"entry {last.entry} of {last.at}, which did not count"
    else:
        what = f"{len(moves)} entries that did not count, from {first.entry} of {first.at} to {last.entry} of {last.at}"
    return (
        f"{ref} had {what} ({last.problem}): later entries are in its place, and nothing of it is to be signed; find "
        f"out whose key to the bucket wrote it (`cas history {ref}`)"
    )


def _released(found: Sequence[AuditedRef]) -> dict[VersionId, list[Released]]:
    """Return the moves that named each version and count, oldest first."""
    moves = [(ref.ref, move) for ref in found for move in ref.moves if move.manifest and not move.problem]
    released: dict[VersionId, list[Released]] = {}
    for ref, move in sorted(moves, key=lambda one: (one[1].at, one[0], one[1].entry)):
        released.setdefault(VersionId(ref.model, parse(move.manifest or "")), []).append((ref, move))
    return released


def _trimmed(found: Sequence[AuditedRef]) -> dict[str, str]:
    """Return for each model with a trimmed log from when on (RFC 3339) none of its logs lacks an entry.

    A log without any signed move counts for nothing: whoever can write begins one at whatever number.
    """
    since: dict[str, str] = {}
    for ref in found:
        if ref.moves[0].entry > 1 and not all(move.problem for move in ref.moves):
            since[ref.ref.model] = max(since.get(ref.ref.model, ""), ref.moves[0].at)
    return since


def _ran(run: Unsigned) -> Problem:
    times = f"at {run.first}" if run.count == 1 else f"{run.count} times from {run.first} to {run.last}"
    reasons = f" ({'; '.join(run.reasons)})" if run.reasons else ""
    hosts = f" on {', '.join(run.hosts)}" if run.hosts else ""
    why = (
        "no signed entry names it"
        if run.is_certain
        else "no signed entry that is left names it; older ones were trimmed"
    )
    return Problem(
        RAN,
        run.deployment,
        f"receipts of {run.deployment} tell of {run.model}@{run.manifest}{reasons}, {times}{hosts}: {why}",
    )


def _unread(receipts: Receipts) -> Iterator[Problem]:
    if receipts.unread:
        keys = ", ".join(receipts.unread[:3])
        yield Problem("unreadable", "", f"{len(receipts.unread)} receipts cannot be read: {keys}")
    if receipts.left_out:
        yield Problem(
            "unreadable", "", f"{receipts.left_out} more receipts of unsigned versions than {MOST} were not read"
        )
