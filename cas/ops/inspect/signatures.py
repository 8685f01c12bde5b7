"""Who signed the refs that lists show.

Where keys are trusted here, that is verified. Elsewhere it is what the names of the signatures beside a ref's last
entry claim, which anybody who may write to the store can make up: lists say so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from cas.refs.names import NamedVersions
from cas.refs.reflog import Ref
from cas.store.store import Store


class Signature(NamedTuple):
    """Who signed the last entry of one ref.

    Attributes:
        ref: the tag or pin.
        key_ids: ids of the keys, 16 upper-case hex digits each; none where nobody signed.
        is_verified: whether that was verified; False where no keys are trusted.
        problem: why the entry does not count where keys are trusted, in a word or two, or `unreadable`; else empty.
    """

    ref: Ref
    key_ids: tuple[str, ...]
    is_verified: bool
    problem: str = ""

    def document(self) -> dict[str, object]:
        """Return the signature as JSON documents show it."""
        return {
            "ref": str(self.ref),
            "keys": self.key_ids,
            "verified": self.is_verified,
            "problem": self.problem or None,
        }

    def shown(self) -> str:
        """Return who signed as people read it: key ids, `unsigned`, or what is wrong."""
        return self.problem or ", ".join(self.key_ids) or "unsigned"


def signature_of(store: Store, ref: Ref, names: NamedVersions) -> Signature:
    """Return who signed the last entry of a ref.

    Args:
        store: where the ref is.
        ref: the tag or pin.
        names: what all refs name, which was read from that store.
    """
    signers = names.signers.get(ref, ())
    return Signature(ref, signers, store.trust is not None and bool(signers), names.problems.get(ref, ""))


def shown(signatures: Iterable[Signature]) -> str:
    """Return who signed several refs of one version, each once: the ids where all agree, else by ref."""
    found = list(signatures)
    words = {signature.shown() for signature in found}
    if len(words) == 1:
        return words.pop()
    names = [(each.ref.second if each.ref.kind == "tags" else f"pin:{each.ref.first}", each) for each in found]
    return "; ".join(f"{name} {each.shown()}" for name, each in names)
