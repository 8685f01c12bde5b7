"""What ran where, as receipts tell it, and which of it no signed entry names.

Most receipts are judged by their keys, which name the version; those that tell of another one are read. A receipt is
not signed: it says what a machine that may write receipts wants to be believed.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

import msgspec

from cas.bucket import Entry
from cas.formats.digest import named, parse
from cas.formats.manifest import DigestName, Name, timestamp
from cas.formats.typed_json import JsonFormat
from cas.ops.audit.result import AuditedMove, Run, Unsigned
from cas.refs.reflog import Ref
from cas.store import layout
from cas.store.layout import VersionId
from cas.store.receipts import list_receipts, read_each
from cas.store.store import Store

MOST = 1000
"""Receipts that are read, the newest first; the others of a fleet that ran what is not signed tell nothing new."""

Released: TypeAlias = tuple[Ref, AuditedMove]
"""A move by which a version was released, and the tag or pin that was moved."""

_SHOWN = 3  # reasons and hosts of a finding


class _Host(msgspec.Struct, frozen=True):
    hostname: str = ""
    pod: str | None = None


class _Receipt(msgspec.Struct, frozen=True):
    """The fields of a receipt (`cas.store.receipt`) that an audit looks at."""

    manifest: DigestName
    model: Name
    ok: bool
    reason: str = ""
    host: _Host = _Host()


_RECEIPTS = JsonFormat[_Receipt](_Receipt)


class Receipts:
    """The receipts of a store that are younger than some time.

    Attributes:
        unread: keys of those that cannot be read.
        left_out: how many were not read, as they are more than MOST.
    """

    def __init__(self, store: Store, deployment: str, since: datetime.datetime) -> None:
        """List the receipts.

        Args:
            store: where they are.
            deployment: whose receipts; empty for all.
            since: when the oldest was written that counts, by the store's clock.
        """
        self._store = store
        self._entries = list_receipts(store, deployment, since).receipts
        self.unread: list[str] = []
        self.left_out = 0

    @property
    def listed(self) -> int:
        """How many there are."""
        return len(self._entries)

    def released(self, moves: Mapping[VersionId, Sequence[Released]]) -> list[Run]:
        """Return where versions ran that somebody released, by the keys of the receipts alone.

        Args:
            moves: the moves that released each version, oldest first.
        """
        versions = {version.digest: version for version in moves}
        found: dict[tuple[str, VersionId], list[str]] = {}
        for entry in self._entries:
            if version := versions.get(layout.receipt_digest(entry.key) or ""):
                times = found.setdefault((layout.receipt_deployment(entry.key), version), [])
                times.append(timestamp(entry.modified))
        return [_run(*where, times, moves[where[1]]) for where, times in sorted(found.items())]

    def unsigned(
        self, signed: Collection[VersionId], models: Callable[[str], bool], trimmed: Callable[[str], str], requests: int
    ) -> list[Unsigned]:
        """Return what ran of versions that no signed entry names.

        Args:
            signed: the versions that signed entries name.
            models: says whether the audit is about a model.
            trimmed: says from when on (RFC 3339) the logs of a model lack no entry; empty where they lack none.
            requests: how many receipts are read at once.
        """
        known = {version.digest for version in signed}
        others = [entry for entry in self._entries if layout.receipt_digest(entry.key) not in known]
        others.sort(key=lambda entry: entry.modified, reverse=True)
        self.left_out = len(others[MOST:])
        found: dict[tuple[str, VersionId], list[tuple[Entry, _Receipt]]] = {}

        read, self.unread = read_each(self._store, others[:MOST], _RECEIPTS.decode, requests)
        for entry in others[:MOST]:
            receipt = read.get(entry.key)
            if receipt and receipt.ok and models(receipt.model):
                version = VersionId(receipt.model, parse(receipt.manifest))
                if version not in signed:
                    found.setdefault((layout.receipt_deployment(entry.key), version), []).append((entry, receipt))
        return [_told(*where, told, trimmed(where[1].model)) for where, told in sorted(found.items())]


def _run(deployment: str, version: VersionId, times: Sequence[str], moves: Sequence[Released]) -> Run:
    last = max(times)
    # What named it when it ran, and not what names it since; without such a move, the log was trimmed.
    before = [(ref, move) for ref, move in moves if move.at <= last] or moves[:1]
    pins = [(ref, move) for ref, move in before if ref.kind == "pins" and ref.first == deployment]
    ref, move = (pins or before)[-1]
    return Run(
        deployment=deployment,
        model=version.model,
        manifest=named(version.digest),
        count=len(times),
        last=last,
        ref=str(ref),
        entry=move.entry,
        at=move.at,
        by=move.by,
        key_id=move.key_id,
    )


def _told(deployment: str, version: VersionId, told: Sequence[tuple[Entry, _Receipt]], trimmed: str) -> Unsigned:
    times = sorted(timestamp(entry.modified) for entry, _ in told)
    hosts = sorted({receipt.host.pod or receipt.host.hostname for _, receipt in told} - {""})
    return Unsigned(
        deployment=deployment,
        model=version.model,
        manifest=named(version.digest),
        count=len(told),
        first=times[0],
        last=times[-1],
        reasons=tuple(sorted({receipt.reason for _, receipt in told} - {""})[:_SHOWN]),
        hosts=tuple(hosts[:_SHOWN]),
        is_certain=times[-1] >= trimmed,
    )
