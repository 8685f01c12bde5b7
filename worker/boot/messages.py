"""What the restoring process and the worker send each other: one JSON document a line."""

from __future__ import annotations

from typing import Literal

import msgspec

from cas.events import SignedEntry

Source = Literal["store", "mirror", "here", "hub"]
"""What had the model; `here` is this machine alone, `hub` is Hugging Face."""

Fallback = Literal["bytes", "hub", "none"]
"""What may stand in for a store that does not give the wanted version: sources of the same bytes, what Hugging Face has
as main, or nothing."""


Role = Literal["weights", "vocabulary", "config", "vocoder_config", "vocoder_weights"]
"""What a file that the worker loads is for."""


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


class PlacedFile(msgspec.Struct, frozen=True):
    """A file that the worker loads.

    Attributes:
        path: the file, in a snapshot folder.
        root: directory of its repo in the hub cache, which holds the record of verified files.
        verified: whether a restore has verified it, so that the record must say so.
    """

    path: str
    root: str
    verified: bool


class Restored(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="restored"):
    """The model is on this machine.

    Attributes:
        source: the kind of source that had it.
        where: address of that source.
        directory: the cache directory that the model is in.
        directory_reason: why it is in this one.
        version: reference that names the version for ever; empty when the model came from Hugging Face.
        version_reason: why it is this version.
        signed: what named the version, where keys are trusted; None where none are, or where no ref named it.
        snapshots: snapshot folder of each repo, by the repo's id.
        complete: whether the cache has all files, so that the hub need not be asked for any.
        publish: whether the store said that it has no such version, so that the worker should publish this one.
        bytes: where its bytes came from.
        files: what the worker loads, chosen among the files of the version and of the one that has its vocoder.
        fallback: what might have stood in for the store; empty when nothing was decided.
        holds: the hub cache and the reference of each version whose files the worker uses, so that no prune removes it.
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
    files: dict[Role, PlacedFile] = {}
    fallback: Fallback | Literal[""] = ""
    signed: SignedEntry | None = None
    holds: tuple[tuple[str, str], ...] = ()
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


class Expected(msgspec.Struct, frozen=True, tag_field="kind", tag="expected"):
    """A restore begins, and will bring these files that the worker loads; an earlier restore has failed.

    Attributes:
        files: the id of its repo, and the path in that repo, of each file; by what it is for.
    """

    files: dict[Role, tuple[str, str]]


class Arrived(msgspec.Struct, frozen=True, tag_field="kind", tag="arrived"):
    """A file is on this machine, whole and verified; the links and the record of the restore may follow later.

    Attributes:
        path: the file.
        repo_id: the repo that it belongs to; empty for a plain file.
        names: its paths in that repo.
        size: bytes.
        mtime: time of its last modification, in nanoseconds.
    """

    path: str
    repo_id: str
    names: tuple[str, ...]
    size: int
    mtime: int


class Ended(msgspec.Struct, frozen=True):
    """What the worker replies once it can speak, or knows that it cannot.

    Attributes:
        steps: the worker's own phases.
        failure: class and message of the error that ended the boot; None when the worker can speak.
    """

    steps: tuple[Step, ...]
    failure: tuple[str, str] | None = None


Message = Restored | Failed | Expected | Arrived
"""What the restoring process sends; `Restored` or `Failed` is the last that concerns the boot."""

# Made here, in one thread: msgspec crashes when two threads decode a type for the first time at once.
_encode = msgspec.json.Encoder().encode
_messages = msgspec.json.Decoder(Restored | Failed | Expected | Arrived)
_endings = msgspec.json.Decoder(Ended)


def encode(message: Message | Ended) -> bytes:
    """Return a message as one line."""
    return _encode(message) + b"\n"


def decode(line: bytes) -> Message:
    """Return the restoring process's message in a line; raises msgspec.DecodeError."""
    message: Message = _messages.decode(line)
    return message


def decode_ended(line: bytes) -> Ended:
    """Return the worker's reply in a line; raises msgspec.DecodeError."""
    return _endings.decode(line)
