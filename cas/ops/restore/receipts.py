"""Receipts: one JSON document for each restore, or boot around one, kept in the store that it restored from.

    receipts/<deployment>/<yyyy-mm-dd>/<hhmmss>-<64 hex of the manifest>-<16 random hex>.json

They say what ran where, how long it took, and from where the bytes came; for 30 days the collector keeps the version
that one names. Writing one never fails a restore, and takes a bounded time.
"""

from __future__ import annotations

import datetime
import os
import re
import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Literal

import msgspec

from cas import events, host
from cas.bucket import Kind
from cas.errors import CasError
from cas.formats.digest import parse
from cas.formats.manifest import DigestName, Name, Time, timestamp
from cas.host import Host
from cas.parallel import BackgroundCall
from cas.store.layout import receipt_key
from cas.store.store import Store

if TYPE_CHECKING:
    from cas.ops.restore.restorer import Restored

_WRITING = 10.0
_MOVING = ("fetch", "copy")
_LONGEST = 2000
_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN")
_QUERY = re.compile(r"(\w+://[^\s?'\"]*)\?[^\s'\"]*")
_USER = re.compile(r"(\w+://)[^\s/@]+@")


class Step(msgspec.Struct, frozen=True):
    """One phase of a restore and how long it took; a name may come again. seconds: wall time."""

    name: str
    seconds: float


class Bytes(msgspec.Struct, frozen=True, kw_only=True):
    """Where the bytes of the files came from.

    total: of all files. fetched: from the store, plain. wire: what crossed the connection for them. reused: copied from
    other files on this machine. present: the rest, which was there and right, or is in the version twice.
    reused_from: what was reused by the folder it was found in. The last two are known of a restore that succeeded.
    """

    total: int
    present: int | None
    fetched: int
    wire: int
    reused: int
    reused_from: dict[str, int] = {}


class Failure(msgspec.Struct, frozen=True, rename={"kind": "class"}):
    """Why a restore failed. kind: the class of the error."""

    kind: str
    message: str


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """One restore, or the boot that it was part of.

    when: its begin, UTC. seconds: wall time until what was restored could be used. rate: bytes a second on the wire
    while fetching. directory, directory_reason: where it was restored to, and why there, as far as somebody chose.
    """

    version: Literal[1] = 1
    manifest: DigestName
    model: Name
    deployment: Name
    reason: str
    directory: str = ""
    directory_reason: str = ""
    when: Time
    seconds: float
    ok: bool
    error: Failure | None = None
    changed: bool | None = None
    phases: tuple[Step, ...]
    bytes: Bytes
    rate: float
    host: Host
    versions: dict[str, str]

    def key(self) -> str:
        """A new key to keep it under: the collector reads the manifest's digest from there."""
        return receipt_key(self.deployment, self.when, parse(self.manifest), os.urandom(8).hex())


class ReceiptWriter:
    """Listens to one restore and writes its receipt at the end of a `with` block, failed or not.

    with ReceiptWriter(store, reason="nightly") as recorder:
        recorder.finished(cas.restore("f5-tts", store, on_event=recorder.listen))
    """

    def __init__(
        self,
        store: Store,
        listen: events.Listener = events.ignore,
        *,
        reason: str = "",
        within: float = _WRITING,
    ) -> None:
        """listen: hears every event, too, and a Warned when no receipt can be written.

        reason: why this version, in words. within: seconds that writing may take.
        """
        self._store, self._listen, self._reason, self._within = store, listen, reason, within
        self._begun, self._at = datetime.datetime.now(datetime.UTC), time.monotonic()
        self._phases: list[tuple[str, float]] = []
        self._resolved: events.Resolved | None = None
        self._plain = {"store": 0, "local": 0}
        self._wire = 0
        self._lock = threading.Lock()
        self._restored: Restored | None = None
        self._finished: float | None = None
        self._around: tuple[Step, ...] = ()
        self._directory = ("", "")
        self._failure: Failure | None = None

    def finished(self, restored: Restored) -> None:
        """Takes note of how the restore ended well."""
        self._restored, self._finished = restored, time.monotonic()

    def boot(
        self, steps: Iterable[Step], directory: str, directory_reason: str, failure: tuple[str, str] | None = None
    ) -> None:
        """Makes it the receipt of a boot, which ends now.

        steps: phases of what went on around the restore. directory, directory_reason: where to, and why there.
        failure: class and message of what kept the model from being used.
        """
        self._around = tuple(steps)
        self._directory = (directory, _without_secrets(directory_reason))
        self._failure = failure and Failure(failure[0], _without_secrets(failure[1]))

    def listen(self, event: events.Event) -> None:
        """Takes note of one event and passes it on; safe to call from any thread."""
        match event:
            case events.Phase(name):
                with self._lock:
                    self._phases.append((name, time.monotonic()))
            case events.Resolved():
                self._resolved = event
            case events.Moved(plain, wire, source):
                with self._lock:
                    # Other phases report what they hash.
                    if self._phases and self._phases[-1][0] in _MOVING and source in self._plain:
                        self._plain[source] += plain
                        self._wire += wire
        self._listen(event)

    def __enter__(self) -> ReceiptWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Whoever interrupts a restore does not want to wait for its receipt.
        if self._resolved is not None and (error is None or isinstance(error, Exception)):
            self._write(self._resolved, error, time.monotonic())

    def _write(self, resolved: events.Resolved, error: Exception | None, end: float) -> None:
        try:
            writing = BackgroundCall(lambda: self._put(resolved, error, end))
            if writing.ends_within(self._within):
                writing.result()
            else:
                self._listen(events.Warned(f"no receipt was written: the store did not take it in {self._within:g} s"))
        except KeyboardInterrupt:
            raise
        except BaseException as failure:  # a panic inside obstore is no Exception
            self._listen(events.Warned(f"no receipt was written: {_told(failure)}"))

    def _put(self, resolved: events.Resolved, error: Exception | None, end: float) -> None:
        receipt = self._receipt(resolved, error, end)
        self._store.bucket.put(receipt.key(), msgspec.json.encode(receipt), Kind.DOCUMENT)

    def _receipt(self, resolved: events.Resolved, error: Exception | None, end: float) -> Receipt:
        model, _, manifest = resolved.reference.partition("@")
        done = self._restored
        ends = [*(begun for _, begun in self._phases), self._finished or end][1:]
        steps = [Step(name, round(last - begun, 6)) for (name, begun), last in zip(self._phases, ends, strict=True)]
        fetching = sum(step.seconds for step in steps if step.name == "fetch")
        return Receipt(
            manifest=manifest,
            model=model,
            deployment=host.deployment(),
            reason=_without_secrets(self._reason),
            directory=self._directory[0],
            directory_reason=self._directory[1],
            when=timestamp(self._begun),
            seconds=round(end - self._at, 6),
            ok=error is None and self._failure is None,
            error=Failure(type(error).__name__, _told(error)) if error else self._failure,
            changed=done.changed if done else None,
            phases=(*steps, *self._around),
            bytes=self._bytes(resolved.total),
            rate=round(self._wire / fetching, 1) if fetching > 0 else 0.0,
            host=host.facts(),
            versions=host.versions(),
        )

    def _bytes(self, total: int) -> Bytes:
        done = self._restored
        fetched, reused = (done.fetched, done.reused) if done else (self._plain["store"], self._plain["local"])
        return Bytes(
            total=total,
            present=max(0, total - fetched - reused) if done else None,
            fetched=fetched,
            wire=done.wire if done else self._wire,
            reused=reused,
            reused_from=dict(done.reused_from) if done else {},
        )


def _told(error: BaseException) -> str:
    """An error's message. Those of other people's code may hold anything: of them, the class alone."""
    if isinstance(error, CasError):
        return _without_secrets(str(error))
    if isinstance(error, OSError):
        return _without_secrets(": ".join(filter(None, (str(error.filename or ""), error.strerror))))
    return type(error).__name__


def _without_secrets(text: str) -> str:
    """`text` without query strings and users of URLs, and without what the secret variables hold."""
    for name in _SECRETS:
        if secret := os.environ.get(name):
            text = text.replace(secret, f"<{name}>")
    return _USER.sub(r"\1", _QUERY.sub(r"\1", text))[:_LONGEST]
