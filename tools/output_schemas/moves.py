"""What is printed of tags and pins: `tag`, `pin`, `pins`, `history`, `rollback`, `sign`."""

from __future__ import annotations

from typing import TypedDict


class Moved(TypedDict):
    """What `cas tag` and `cas pin` moved.

    Attributes:
        reference: the exact reference of the version.
        moved: the tags, or the pins, that named another version before.
        store: URL of the store.
    """

    reference: str
    moved: list[str]
    store: str


class Removed(TypedDict):
    """What `cas untag` and `cas unpin` removed.

    Attributes:
        removed: the tags or pins.
        store: URL of the store.
    """

    removed: list[str]
    store: str


class Pin(TypedDict):
    """What a deployment has pinned.

    Attributes:
        deployment: whose pin it is.
        model: the model.
        digest: the version; null where the pin's last entry cannot be read, or does not count.
        tags: tags that name the same version.
        since: when it was pinned, by the server's clock (RFC 3339).
        by: who pinned it.
        reason: why.
    """

    deployment: str
    model: str
    digest: str | None
    tags: list[str]
    since: str
    by: str
    reason: str


class PastMove(TypedDict):
    """An entry of the log of a tag or pin.

    Attributes:
        entry: its number.
        name: its name in the log.
        at: when it was written, by the server's clock (RFC 3339).
        manifest: the version; null where the ref was removed, or the entry cannot be read, or does not count.
        removed: whether it removed the ref.
        created: when it was written, by the writer's clock.
        by: who moved the ref.
        program: with which program.
        reason: why.
        in_force: whether it is the last one.
        lost: whether another entry of the same number won.
        error: why it cannot be read, or does not count.
        signers: ids of the keys that signed it.
        verified: whether that was verified.
        problem: a word for the error: `unreadable`, `unsigned` and so on.
        claimed: the version that an entry names which does not count.
    """

    entry: int
    name: str
    at: str
    manifest: str | None
    removed: bool
    created: str | None
    by: str
    program: str | None
    reason: str
    in_force: bool
    lost: bool
    error: str | None
    signers: list[str]
    verified: bool
    problem: str | None
    claimed: str | None


class RolledBack(TypedDict):
    """What `cas rollback` did.

    Attributes:
        ref: the tag or pin.
        before: the version that it named.
        reference: the exact reference of the version that it names now.
        moved: whether that is another.
        store: URL of the store.
    """

    ref: str
    before: str | None
    reference: str
    moved: bool
    store: str


class Signed(TypedDict):
    """An entry of a log that `cas sign` signed; of a planned move, which has no entry yet, null for what it lacks.

    Attributes:
        ref: the tag or pin.
        entry: the entry's number; null with --dry-run for an entry that a move would write.
        name: its name in the log; null likewise.
        manifest: the version; null where the ref was removed.
        by: who moved the ref; null likewise.
        created: when (RFC 3339); null likewise.
        reason: why; null likewise.
        signed_by: ids of the keys that signed it.
        in_force: whether it is the last one.
        added: whether the signature was added now, or would be.
        problem: why it was not signed.
    """

    ref: str
    entry: int | None
    name: str | None
    manifest: str | None
    by: str | None
    created: str | None
    reason: str | None
    signed_by: list[str]
    in_force: bool
    added: bool
    problem: str | None
