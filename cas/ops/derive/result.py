"""The result of a derivation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Variant:
    """What a derivation did.

    Attributes:
        reference: names the variant for ever; empty for a dry run of a new variant.
        original: names the original version for ever.
        transform: the recorded name of the cast.
        equivalent: in words, what the variant is equivalent to, and when; empty for a dry run of a
            new variant.
        files: how many files the model has.
        cast: names of the files that changed.
        pickles: paths of weights that stay as they are: reading a pickle runs the code in it.
        before: plain bytes of the original.
        total: plain bytes of the variant.
        tensors: how many tensors were cast and proven.
        overflowed: how many of their finite elements became infinite.
        proof: the digest of the proof's listing; empty for a dry run of a new variant.
        uploaded: plain bytes sent.
        wire: bytes of their frames.
        chunks: how many distinct chunks the variant has.
        uploaded_chunks: how many chunks were sent.
        moved: tags that now name another version than before.
        seconds: wall time.
        created: False when the store had the variant, also when somebody else moved the first tag to it meanwhile.
        dry_run: whether nothing was written.
    """

    reference: str
    original: str
    transform: str
    equivalent: str
    files: int
    cast: tuple[str, ...]
    pickles: tuple[str, ...]
    before: int
    total: int
    tensors: int
    overflowed: int
    proof: str
    uploaded: int
    wire: int
    chunks: int
    uploaded_chunks: int
    moved: tuple[str, ...]
    seconds: float
    created: bool
    dry_run: bool = False
