"""Receipts: one JSON document for each restore, or for the boot it is part of, in the store that it restored from.

    receipts/<deployment>/<yyyy-mm-dd>/<hhmmss>-<64 hex of the manifest>-<16 random hex>.json

A receipt says what ran where, how long it took, and where the bytes came from. For 30 days the collector retains the
version that a receipt names. A restore of several versions at once writes a receipt for each, all of them with the
figures of the whole. Writing a receipt never fails a restore, and takes a bounded time.
"""

from __future__ import annotations

import datetime
import os
import re
import threading
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

import msgspec

from cas import config, events, host
from cas.bucket import Kind
from cas.errors import CasError
from cas.formats.manifest import timestamp
from cas.formats.printable import printable
from cas.parallel import BackgroundCall
from cas.store import later_phases
from cas.store.receipt import MOST_PHASES, RECEIPTS, Bytes, Failure, Receipt, phase_time
from cas.store.store import Store

if TYPE_CHECKING:
    from cas.ops.restore.restorer import Restored

_TIMEOUT = 10.0  # seconds to write a receipt
_TRANSFER_PHASES = ("fetch", "copy")
_MAX_TEXT = 2000  # characters
_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN")
_QUERY = re.compile(r"(\w+://[^\s?'\"]*)\?[^\s'\"]*")
_USER = re.compile(r"(\w+://)[^\s/@]+@")


class ReceiptWriter:
    """Listens to one restore and writes its receipt at the end of a `with` block, whether the restore failed or not.

        with cas.ReceiptWriter(store, reason="nightly") as writer:
            writer.finished(cas.restore("minilm", store, on_event=writer.listen))

    Attributes:
        store: where the receipt is written to.
        listener: hears every event that the writer hears, and a warning when no receipt can be written.
        target: the receipts that were written, to which `cas.phase` adds; None before, and where none could be.
    """

    def __init__(
        self,
        store: Store,
        listen: events.Listener = events.ignore,
        *,
        reason: str = "",
        signed: events.SignedEntry | None = None,
        before: Iterable[events.Span] = (),
        source: str = "",
        timeout: float = _TIMEOUT,
    ) -> None:
        """Begin to measure the restore.

        Args:
            store: as the attribute.
            listen: the attribute `listener`.
            reason: why this version, in words.
            signed: the verified entry that named it, where the restore itself reads no ref.
            before: phases that came before the restore, and belong to it.
            source: where bytes are asked for first, `store`, `CDN` or `mirror`; by default what CAS_READ_URL says.
            timeout: seconds that writing may take.
        """
        self._source = source or ("CDN" if config.read("CAS_READ_URL") else "store")
        self.target: later_phases.Target | None = None
        self._written: list[str] = []
        self._signed = signed
        self.store, self.listener, self._reason, self._timeout = store, listen, reason, timeout
        self._when, self._begun = datetime.datetime.now(datetime.UTC), time.monotonic()
        self._phases: list[tuple[str, float]] = []  # each ends where the next begins; "" is none
        self._before = tuple(before)
        self._named: list[events.Span] = []  # by the program itself, with `cas.phase`
        self._resolved: list[events.Resolved] = []
        self._is_resolved = False
        self._plain = {"store": 0, "local": 0}
        self._wire = 0
        self._lock = threading.Lock()
        self._restored: Restored | None = None
        self._names: Mapping[str, str] = {}
        self._boot_spans: tuple[events.Span, ...] = ()
        self._directory = ("", "")
        self._fallback = ""
        self._failure: Failure | None = None

    def finished(self, restored: Restored, names: Mapping[str, str] = {}) -> None:
        """Note the result of a restore that succeeded, which ends its last phase.

        Args:
            restored: the result.
            names: what the receipt calls seeds, by their paths: a hub's address for one that was downloaded there.
        """
        self._restored, self._names = restored, names
        with self._lock:
            self._phases.append(("", time.monotonic()))

    def boot(
        self,
        spans: Iterable[events.Span],
        directory: str,
        directory_reason: str,
        failure: tuple[str, str] | None = None,
        *,
        fallback: str = "",
    ) -> None:
        """Make this the receipt of a boot, which ends now.

        Args:
            spans: the phases of the boot around the restore.
            directory: where the version was restored to.
            directory_reason: why there, in words.
            failure: class and message of the error that kept the model from being used.
            fallback: what might have stood in for this store.
        """
        self._boot_spans = tuple(spans)
        self._directory = (_without_secrets(directory), _without_secrets(directory_reason))
        self._fallback = fallback
        self._failure = failure and Failure(failure[0], _without_secrets(failure[1]))

    def listen(self, event: events.Event) -> None:
        """Note one event and pass it on; safe to call from any thread."""
        match event:
            case events.Phase(name):
                with self._lock:
                    self._phases.append((name, time.monotonic()))
                self._is_resolved &= name != "resolve"
            case events.Resolved():
                if not self._is_resolved:  # the first version of a restore; one before it may have failed
                    self._resolved.clear()
                self._is_resolved = True
                self._resolved.append(event)
            case events.Moved(plain, wire, source):
                with self._lock:
                    # In other phases, Moved counts bytes that are hashed.
                    if self._phases and self._phases[-1][0] in _TRANSFER_PHASES and source in self._plain:
                        self._plain[source] += plain
                        self._wire += wire
        self.listener(event)

    def __enter__(self) -> ReceiptWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A user who interrupts a restore does not want to wait for its receipt.
        if self._resolved and (error is None or isinstance(error, Exception)):
            self._write(error, time.monotonic())

    def _write(self, error: Exception | None, end: float) -> None:
        self._named = later_phases.take()
        try:
            writing = BackgroundCall(lambda: self._put(error, end))
            if writing.ends_within(self._timeout):
                writing.result()
                self.target = later_phases.Target(self.store, tuple(self._written), self._begun, end, os.getpid())
                later_phases.use(self.target)
            else:
                self.listener(
                    events.Warned(f"no receipt was written: the store did not take it in {self._timeout:g} s")
                )
        except KeyboardInterrupt:
            raise
        except BaseException as failure:  # a panic inside obstore is a BaseException
            self.listener(events.Warned(f"no receipt was written: {_describe_error(failure)}"))

    def _put(self, error: Exception | None, end: float) -> None:
        for resolved in self._resolved:
            receipt = self._receipt(resolved, error, end)
            key = receipt.key()
            self.store.bucket.put(key, RECEIPTS.encode(receipt), Kind.DOCUMENT)
            self._written.append(key)

    def _receipt(self, resolved: events.Resolved, error: Exception | None, end: float) -> Receipt:
        model, _, manifest = resolved.reference.partition("@")
        restored = self._restored
        ends = [*(begun for _, begun in self._phases), end][1:]
        own = [events.Span(name, at, ended - at) for (name, at), ended in zip(self._phases, ends, strict=True) if name]
        spans = (*self._before, *self._named, *own, *self._boot_spans)
        phases = tuple(phase_time(span, self._begun) for span in spans[:MOST_PHASES])
        fetching = sum(span.seconds for span in own if span.name == "fetch")
        return Receipt(
            manifest=manifest,
            model=model,
            deployment=host.deployment(),
            reason=_without_secrets(self._reason),
            directory=self._directory[0],
            directory_reason=self._directory[1],
            fallback=self._fallback,
            signed=resolved.signed or self._signed or msgspec.UNSET,
            when=timestamp(self._when),
            seconds=round(end - self._begun, 6),
            ok=error is None and self._failure is None,
            error=Failure(type(error).__name__, _describe_error(error)) if error else self._failure,
            changed=restored.changed if restored else None,
            phases=phases,
            bytes=self._bytes(sum(each.total for each in self._resolved)),
            second_requests=restored.second_requests if restored else None,
            rate=round(self._wire / fetching, 1) if fetching > 0 else 0.0,
            host=host.facts(),
            versions=host.versions(),
        )

    def _bytes(self, total: int) -> Bytes:
        restored = self._restored
        fetched, reused = (
            (restored.fetched, restored.reused) if restored else (self._plain["store"], self._plain["local"])
        )
        return Bytes(
            total=total,
            present=max(0, total - fetched - reused) if restored else None,
            fetched=fetched,
            wire=restored.wire if restored else self._wire,
            reused=reused,
            reused_from={
                _without_secrets(self._names.get(seed, seed)): size for seed, size in restored.reused_from.items()
            }
            if restored
            else {},
            source=self._source,
        )


def _describe_error(error: BaseException) -> str:
    """Return an error's message, or only its class: the message of an error that is not ours may hold secrets."""
    if isinstance(error, CasError):
        return _without_secrets(str(error))
    if isinstance(error, OSError):
        return _without_secrets(": ".join(filter(None, (str(error.filename or ""), error.strerror))))
    return type(error).__name__


def _without_secrets(text: str) -> str:
    """Return `text` printable, without the queries and users of URLs, and without the values of secret variables."""
    for name in _SECRETS:
        if secret := config.read(name):
            text = text.replace(secret, f"<{name}>")
    return printable(_USER.sub(r"\1", _QUERY.sub(r"\1", text))[:_MAX_TEXT])
