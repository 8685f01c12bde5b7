"""What the restoring process and the worker send each other: one JSON document a line."""

from __future__ import annotations

from typing import Literal

import msgspec

Source = Literal["store", "mirror", "here", "hub"]
"""What had the model; `here` is this machine alone, `hub` is Hugging Face."""

Fallback = Literal["bytes", "hub", "none"]
"""What may stand in for a store that does not give the wanted version: sources of the same bytes, what Hugging Face has
as main, or nothing."""


class Step(msgspec.Struct, frozen=True):
    """One phase of a boot.

    Attributes:
        name: such as `fetch`.
        begun: seconds of the machine's monotonic clock, which is the same in every process.
        seconds: wall time.
    """

    name: str
    begun: float
    seconds: float


class Bytes(msgspec.Struct, frozen=True):
    """Where the bytes of a model came from.

    Attributes:
        total: size of all files.
        fetched: plain bytes that came from a store.
        wire: bytes that crossed the connection for them.
        downloaded: bytes that came from Hugging Face.
        reused: bytes copied from other files on this machine.
        present: bytes that were in the directory already, and right.
    """

    total: int = 0
    fetched: int = 0
    wire: int = 0
    downloaded: int = 0
    reused: int = 0
    present: int = 0


class Restored(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="restored"):
    """The model is on this machine.

    Attributes:
        source: the kind of source that had it.
        where: address of that source.
        directory: the cache directory that the model is in.
        directory_reason: why it is in this one.
        version: reference that names the version for ever; empty when the model came from Hugging Face.
        version_reason: why it is this version.
        snapshots: snapshot folder of each repo, by the repo's id.
        complete: whether the cache has all files, so that the hub need not be asked for any.
        publish: whether the store said that it has no such version, so that the worker should publish this one.
        bytes: where its bytes came from.
        fallback: what might have stood in for the store; empty when nothing was decided.
        steps: the phases of the restore.
        warnings: what went otherwise than wished meanwhile.
        errors: what went wrong meanwhile, and must be looked into.
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
    fallback: Fallback | Literal[""] = ""
    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="failed"):
    """There is no model on this machine.

    Attributes:
        exit_code: that of the command line for such an error.
        causes: what each source said.
        fallback: as that of `Restored`.
        steps: the phases until then.
        warnings: as those of `Restored`.
        errors: as those of `Restored`.
    """

    exit_code: int
    causes: tuple[str, ...]
    fallback: Fallback | Literal[""] = ""
    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


class Ended(msgspec.Struct, frozen=True):
    """What the worker replies once it can speak, or knows that it cannot.

    Attributes:
        steps: the worker's own phases.
        failure: class and message of the error that ended the boot; None when the worker can speak.
    """

    steps: tuple[Step, ...]
    failure: tuple[str, str] | None = None


# Made here, in one thread: msgspec crashes when two threads decode a type for the first time at once.
_encode = msgspec.json.Encoder().encode
_messages = msgspec.json.Decoder(Restored | Failed)
_endings = msgspec.json.Decoder(Ended)


def encode(message: Restored | Failed | Ended) -> bytes:
    """Return a message as one line."""
    return _encode(message) + b"\n"


def decode(line: bytes) -> Restored | Failed:
    """Return the restoring process's message in a line; raises msgspec.DecodeError."""
    message: Restored | Failed = _messages.decode(line)
    return message


def decode_ended(line: bytes) -> Ended:
    """Return the worker's reply in a line; raises msgspec.DecodeError."""
    return _endings.decode(line)
