"""A share of the chunks, for one of several machines that check a store together.

A share is a run of the store's 256 folders of chunks. Each machine reads all manifests, as it must know which chunks
versions need; what is wrong with refs and manifests themselves is reported by the first share alone, and so counted
once. The shares may be checked at any time, in any order. `cas.ops.fsck.merge` sums up their results.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from cas import host
from cas.errors import InputError
from cas.store.layout import CHUNK_FOLDERS

_MOST = len(CHUNK_FOLDERS)


class Shard(NamedTuple):
    """One of `of` shares.

    Attributes:
        number: which one, from 1.
        of: how many there are, 256 at most.
    """

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def has(self, digest: bytes) -> bool:
        """Return whether a chunk (32 bytes) belongs to this share."""
        return digest[0] * self.of // _MOST == self.number - 1

    @property
    def folders(self) -> list[str]:
        """The folders of this share's chunks."""
        return [folder for first, folder in enumerate(CHUNK_FOLDERS) if self.has(bytes([first]))]


def parse_shard(text: str) -> Shard:
    """Return the share that `3/16` names; raise InputError for anything else."""
    match = re.fullmatch(r"([0-9]{1,3})/([0-9]{1,3})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]) <= _MOST:
        raise InputError(f"{text!a} is no shard: write which of how many, such as 3/16, {_MOST} at most")
    return Shard(int(match[1]), int(match[2]))


def limits_for(shards: int) -> host.Limits:
    """Return what each of so many shards that one process checks at once may use of the machine."""
    whole = host.Limits()
    return host.Limits(
        budget=max(32 * host.MIB, whole.budget // shards),
        requests=max(2, whole.requests // shards),
        workers=max(1, whole.workers // shards),
    )
