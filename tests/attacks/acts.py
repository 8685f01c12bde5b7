"""What an intruder does to the log of a tag or pin, so that another version runs than was released."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.attacks.shop import EVIL, GOOD, OLD, Intruder, signature_key
from tests.support.models import Files


class Act(NamedTuple):
    """One attack.

    Attributes:
        name: what is done, in words.
        do: does it.
        files: what a reader without trusted keys runs then, which shows that the attack is one.
        says: what the error of a reader with trusted keys says, beside the ref and the number of the entry.
        number: of the entry that is in force then.
        ref: the tag or pin.
        identity: the key that it takes, as `Shop.intruder` has it.
        back: what the ref names after the operator's `cas rollback`; None where the log holds nothing to go back to.
    """

    name: str
    do: Callable[[Intruder], object]
    files: Files | None
    says: str
    number: int = 3
    ref: str = "m:latest"
    identity: str = "writer"
    back: Files | None = GOOD


def _current(at: Intruder, ref: str = "m:latest") -> str:
    return at.entries(ref)[-1]


def _append_signed(at: Intruder, *, claimed: bool) -> None:
    key, data = at.next("m:latest"), at.entry(at.evil)
    at.sign(key, data, at.shop.keys.id if claimed else "")
    at.write(key, data)


def _replace(at: Intruder, *, renames: bool = False) -> None:
    """Overwrite the entry in force; with `renames` put its signature beside what is there now."""
    key, data = _current(at), at.entry(at.evil)
    if renames:
        (signature,) = at.signatures(key)
        at.write(signature_key(key, at.shop.keys.id, data), at.read(signature))
    at.write(key, data)


def _edit_signature(edit: Callable[[bytes], bytes]) -> Callable[[Intruder], None]:
    def do(at: Intruder) -> None:
        (signature,) = at.signatures(_current(at))
        at.write(signature, edit(at.read(signature)))

    return do


def _edit_comment(text: bytes) -> bytes:
    lines = text.split(b"\n")
    lines[2] = lines[2].replace(b"refs/", b"Refs/")
    return b"\n".join(lines)


def _move_from(ref: str, to: str = "m:latest", number: int = 0) -> Callable[[Intruder], None]:
    """Copy the entry in force of a ref, with its signature, behind the last one of another."""
    return lambda at: at.transplant(_current(at, ref), at.next(to, number))


def _copy_old(at: Intruder) -> None:
    """Copy the first entry of a log, under its id, to a number after the last."""
    first = at.entries("m:latest")[0]
    at.transplant(first, at.next("m:latest", identity=first[-21:-5]))


def _from_staging(at: Intruder) -> None:
    """Copy the third entry of the staging store to the same key in this one."""
    key = at.entries("m:latest", at.staging)[-1]
    at.transplant(key, key, at.staging)


def _with_more_digits(at: Intruder) -> None:
    """Copy the first entry of a log to a key whose number is 3 and has nine digits."""
    folder, _, name = at.entries("m:latest")[0].rpartition("/")
    at.transplant(f"{folder}/{name}", f"{folder}/000000003{name[8:]}")


def _strip(at: Intruder) -> None:
    (signature,) = at.signatures(_current(at))
    at.bucket.delete(signature)


def _begin_anew(at: Intruder) -> None:
    """Delete the whole log, and write another that begins at 1."""
    for key in [*at.entries("m:latest")]:
        for each in (key, *at.signatures(key)):
            at.bucket.delete(each)
    at.write(at.next("m:latest", 1), at.entry(at.evil))


def _sibling(at: Intruder) -> None:
    """Write an entry of the number in force that sorts after it."""
    at.write(at.next("m:latest", 2), at.entry(at.evil))


def _append_garbage(at: Intruder, data: bytes, *, signed: bool = False) -> None:
    key = at.next("m:latest")
    if signed:
        at.write(signature_key(key, at.shop.keys.id, data), b"untrusted comment: none\n")
    at.write(key, data)


_INVALID = "a signature that is not valid"

ACTS = (
    Act("an entry is appended", lambda at: at.append("m:latest", at.evil), EVIL, "has no signature"),
    Act(
        "an entry is appended to a pin",
        lambda at: at.append("pin:eu-prod/m", at.evil),
        EVIL,
        "has no signature",
        ref="pin:eu-prod/m",
    ),
    Act(
        "an entry is appended, signed by a key of the intruder's",
        lambda at: _append_signed(at, claimed=False),
        EVIL,
        "not trusted here",
    ),
    Act("the same, as if by the release key", lambda at: _append_signed(at, claimed=True), EVIL, _INVALID),
    Act(
        "a number far ahead is taken",
        lambda at: at.append("m:latest", at.evil, 10**12),
        EVIL,
        "has no signature",
        10**12,
    ),
    Act("the entry in force is replaced", _replace, EVIL, "was replaced", 2, back=OLD),
    Act(
        "it is replaced, and its signature renamed",
        lambda at: _replace(at, renames=True),
        EVIL,
        "were altered",
        2,
        back=OLD,
    ),
    Act("another entry of the same number is written", _sibling, EVIL, "has no signature", 2),
    Act("entry and signature come from another tag", _move_from("m:old"), OLD, "refs/tags/m/old/00000001-"),
    Act("they come from another model", _move_from("n:latest"), None, "refs/tags/n/latest/00000001-"),
    Act(
        "they come from another deployment",
        _move_from("pin:us-prod/m", "pin:eu-prod/m"),
        OLD,
        "refs/pins/us-prod/m/00000001-",
        ref="pin:eu-prod/m",
    ),
    Act(
        "they come from a tag of the deployment's name",
        _move_from("eu-prod:m", "pin:eu-prod/m"),
        None,
        "refs/tags/eu-prod/m/00000001-",
        ref="pin:eu-prod/m",
    ),
    Act("they come from an older number", _copy_old, OLD, "refs/tags/m/latest/00000001-"),
    Act("they come from a number of other digits", _with_more_digits, OLD, "refs/tags/m/latest/00000001-"),
    Act("they come from another store", _from_staging, OLD, "/staging, not for s3://"),
    Act("the signature is removed", _strip, None, "has no signature", 2, identity="publisher", back=OLD),
    Act("the signature is emptied", _edit_signature(lambda text: b""), None, _INVALID, 2, back=OLD),
    Act("the signature is no text", _edit_signature(lambda text: b"\xff\x00" * 40), None, _INVALID, 2, back=OLD),
    Act(
        "the signature is larger than any",
        _edit_signature(lambda text: text + b"x" * 100_000),
        None,
        _INVALID,
        2,
        back=OLD,
    ),
    Act("the signature's trusted comment is altered", _edit_signature(_edit_comment), None, _INVALID, 2, back=OLD),
    Act("the log is deleted and begun anew", _begin_anew, EVIL, "has no signature", 1, identity="publisher", back=None),
    Act("the tag is removed", lambda at: at.append("m:latest", None), None, "has no signature"),
    Act("an entry of no form is appended", lambda at: _append_garbage(at, b"{"), None, "has no signature"),
    Act("the same, with the name of a signature", lambda at: _append_garbage(at, b"{", signed=True), None, _INVALID),
    Act("the same, larger than any entry", lambda at: _append_garbage(at, b"{" * 70_000, signed=True), None, "larger"),
)
