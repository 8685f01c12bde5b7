"""What is printed of keys, and of who signed what: `keygen`, `trust`, `audit`."""

from __future__ import annotations

from typing import TypedDict

from cas.ops.audit.result import AuditedMove, Problem, Run, Unsigned


class NewKey(TypedDict):
    """A key that `cas keygen` made.

    Attributes:
        key_id: 16 hex digits.
        public_key: what verifies.
        secret_file: the file of the secret key; null where it was printed.
        public_file: the file of the public key.
        secret_key: the secret key, with --stdout alone.
    """

    key_id: str
    public_key: str
    secret_file: str | None
    public_file: str | None
    secret_key: str


class Trusted(TypedDict):
    """What `cas trust add` added.

    Attributes:
        added: ids of the keys that were not trusted before.
        file: the file that holds them.
    """

    added: list[str]
    file: str


class TrustedKey(TypedDict):
    """A key whose signatures count.

    Attributes:
        key_id: 16 hex digits.
        name: what it is called; empty for nothing.
        public_key: the key.
        where: the file or variable that names it.
    """

    key_id: str
    name: str
    public_key: str
    where: str


class Floor(TypedDict):
    """A floor below which no entry counts.

    Attributes:
        ref: the tag or pin.
        number: of the lowest entry that counts.
        where: the file or variable that says so.
    """

    ref: str
    number: int
    where: str


class TrustList(TypedDict):
    """Whose signatures count.

    Attributes:
        keys: the keys.
        floors: the floors.
    """

    keys: list[TrustedKey]
    floors: list[Floor]


class Untrusted(TypedDict):
    """What `cas trust rm` removed.

    Attributes:
        removed: ids of the keys.
        still_trusted: those that a variable or another file names all the same.
        file: the file that held them.
    """

    removed: list[str]
    still_trusted: list[str]
    file: str


class NewFloor(TypedDict):
    """A floor that `cas trust floor` set.

    Attributes:
        ref: the tag or pin.
        number: of the lowest entry that counts; null where the floor was removed.
        file: the file that holds it.
    """

    ref: str
    number: int | None
    file: str


class AuditedRef(TypedDict):
    """A tag or pin, and its moves.

    Attributes:
        ref: the tag or pin.
        model: the model.
        tag: its tag; null for a pin.
        deployment: the deployment; null for a tag.
        floor: below which no entry counts; null for none.
        moves: its moves, the newest first.
    """

    ref: str
    model: str
    tag: str | None
    deployment: str | None
    floor: int | None
    moves: list[AuditedMove]


class Audited(TypedDict):
    """What `cas audit` found.

    Attributes:
        store: URL of the store.
        name: what the store is called in signatures.
        trusted: the names of the trusted keys, by their ids.
        refs: the tags and pins.
        receipts: how many receipts were read.
        runs: which versions ran where.
        unsigned: runs of versions that nobody signed.
        problems: what is wrong.
        notes: what is to be known.
        ok: whether nothing is wrong.
    """

    store: str
    name: str
    trusted: dict[str, str]
    refs: list[AuditedRef]
    receipts: int
    runs: list[Run]
    unsigned: list[Unsigned]
    problems: list[Problem]
    notes: list[Problem]
    ok: bool
