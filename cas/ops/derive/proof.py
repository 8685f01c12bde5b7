"""The proof of a cast: every tensor is compared with its original, and a listing records what was compared.

The section of the listing for one file of the variant consists of these lines:

    file "<repo>/<path>" <sha256 of the file>
    "<tensor>" <dtype>-><dtype> <blake3 of the original's bytes> <blake3 of the variant's>

Names are JSON strings, and tensors are in the header's order. The variant's manifest holds the digest of the listing.
Everybody who can read the store can make the listing anew and compare.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable

import msgspec
from blake3 import blake3

from cas.errors import IntegrityError
from cas.formats.digest import hex_of, named
from cas.ops.derive import nearest
from cas.ops.derive.nearest import Verdict
from cas.ops.derive.plan import CastFile, Piece, Unit

_NOTHING = hex_of(b"")
_encode = msgspec.json.Encoder().encode


class Ledger:
    """The record of one cast file: its sha256, and the digests of its tensors. Units are added in the file's order."""

    def __init__(self, file: CastFile) -> None:
        self.file = file
        self.verdict = Verdict()
        self._blob = hashlib.sha256()
        self._running: dict[int, tuple[blake3, blake3]] = {}
        self._done: dict[int, tuple[str, str]] = {}

    @property
    def blob(self) -> str:
        """The sha256 of the variant's file, once all its units were added."""
        return self._blob.hexdigest()

    def add(self, unit: Unit, source: memoryview, target: memoryview, verdict: Verdict) -> None:
        """Record the next unit of the file.

        Args:
            unit: the unit.
            source: bytes of the original's tensors, laid out as `unit.pieces` says.
            target: bytes of the variant's file.
            verdict: what `judge` returned for the unit.
        """
        self.verdict += verdict
        self._blob.update(target)
        for piece in unit.pieces:
            before, after = self._running.setdefault(piece.tensor, (blake3(), blake3()))
            old, new = _sides(piece, source, target)
            before.update(old)
            after.update(new)
            tensor = self.file.tensors[piece.tensor]
            if unit.start + piece.target + piece.target_size == len(self.file.head) + tensor.end:
                del self._running[piece.tensor]
                self._done[piece.tensor] = before.hexdigest(), after.hexdigest()

    def section(self) -> str:
        """Return the file's section of the listing."""
        lines = [f"file {_quoted(self.file.name)} {self.blob}\n"]
        for index, (old, new) in enumerate(zip(self.file.header.tensors, self.file.tensors, strict=True)):
            before, after = self._done.get(index, (_NOTHING, _NOTHING))
            lines.append(f"{_quoted(new.name)} {old.dtype}->{new.dtype} {before} {after}\n")
        return "".join(lines)


class OrderedGate:
    """Lets threads pass one at a time in the order of their units' numbers, in whatever order they arrive."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._next = 0
        self._aborted = False

    def wait(self, number: int) -> bool:
        """Wait until all lower numbers have passed; return False when one of them failed and never will pass."""
        with self._change:
            self._change.wait_for(lambda: self._aborted or self._next == number)
            return not self._aborted

    def release_next(self) -> None:
        """Let the thread of the next number pass, as the calling thread has passed."""
        with self._change:
            self._next += 1
            self._change.notify_all()

    def abort(self) -> None:
        """Wake all waiters: a unit failed, so the turn of later units will never come."""
        with self._change:
            self._aborted = True
            self._change.notify_all()


def judge(unit: Unit, source: memoryview, target: memoryview) -> Verdict:
    """Compare every element of a unit with its original.

    Args:
        unit: the unit.
        source: bytes of the original's tensors, laid out as `unit.pieces` says.
        target: bytes of the variant's file.

    Raises:
        IntegrityError: an element is not its original cast; the message names the tensor.
    """
    if target[: unit.head] != unit.file.head[unit.start : unit.start + unit.head]:
        raise IntegrityError(f"the header of {unit.file.name} is not that of its original, cast")
    found = Verdict()
    for piece in unit.pieces:
        old, new = unit.file.header.tensors[piece.tensor], unit.file.tensors[piece.tensor]
        before, after = _sides(piece, source, target)
        if old.dtype == new.dtype:
            verdict = nearest.same(before, after)
        else:
            verdict = nearest.compare(before, old.dtype, after, new.dtype)
        if verdict.wrong:
            raise IntegrityError(
                f"tensor {new.name[:100]!a} of {unit.file.name} is not its original cast from {old.dtype} to "
                f"{new.dtype}: {verdict.wrong} elements differ"
            )
        found += verdict
    return found


def digest(ledgers: Iterable[Ledger]) -> str:
    """Return the digest of the whole listing: `blake3:` and 64 hex."""
    whole = blake3()
    for ledger in ledgers:
        whole.update(ledger.section().encode())
    return named(whole.hexdigest())


def _sides(piece: Piece, source: memoryview, target: memoryview) -> tuple[memoryview, memoryview]:
    return (
        source[piece.source : piece.source + piece.source_size],
        target[piece.target : piece.target + piece.target_size],
    )


def _quoted(name: str) -> str:
    return _encode(name).decode()
