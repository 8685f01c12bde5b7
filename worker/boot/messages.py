"""What the restoring process tells the worker, and what the worker answers: one JSON document a line."""

from __future__ import annotations

from typing import Literal

import msgspec

Source = Literal["store", "mirror", "here", "hub"]


class Step(msgspec.Struct, frozen=True):
    """One phase. begun: seconds of the machine's monotonic clock, the same in every process. seconds: wall time."""

    name: str
    begun: float
    seconds: float


class Bytes(msgspec.Struct, frozen=True):
    """Where a model's bytes came from.

    total: of all files. fetched: plain, from a store; wire: what crossed the connection for them. downloaded: from
    Hugging Face. reused: copied from other files on this machine. present: was there and right.
    """

    total: int = 0
    fetched: int = 0
    wire: int = 0
    downloaded: int = 0
    reused: int = 0
    present: int = 0


class Restored(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="restored"):
    """The model is there.

    source: what had it: the store, a mirror, this machine alone, or Hugging Face. where: its address. directory: where
    it is now, and why. version: names it for ever, empty when it came from Hugging Face. snapshots: folder of each
    repo by its id. complete: whether nothing need be asked of the hub. publish: whether the store said that it
    has no such version, so that this one should be published. warnings, errors: what went wrong on the way.
    """

    source: Source
    where: str
    directory: str
    directory_reason: str
    version: str
    version_reason: str
    snapshots: dict[str, str]
    complete: bool
    publish: bool
    bytes: Bytes
    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="failed"):
    """There is no model. exit_code: as of the command line. causes: what each source said."""

    exit_code: int
    causes: tuple[str, ...]
    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


class Ended(msgspec.Struct, frozen=True):
    """What the worker answers once it can speak, or cannot: its own phases, and class and message of an error."""

    steps: tuple[Step, ...]
    failure: tuple[str, str] | None = None


def encode(told: Restored | Failed | Ended) -> bytes:
    """As one line."""
    return msgspec.json.encode(told) + b"\n"


def decode(line: bytes) -> Restored | Failed:
    """The outcome in a line; raises msgspec.DecodeError."""
    return msgspec.json.decode(line, type=Restored | Failed)


def decode_ended(line: bytes) -> Ended:
    """The worker's answer in a line; raises msgspec.DecodeError."""
    return msgspec.json.decode(line, type=Ended)
