"""Files of numbered chunks, and the file and chunks that a publish makes of one."""

from __future__ import annotations

from cas import refs
from cas.formats.digest import hex_of
from cas.formats.manifest import RepoFile
from cas.host import MIB
from cas.store.store import Store

CHUNK = 8 * MIB


def numbered(*numbers: int) -> bytes:
    """The content of a file: a whole chunk for each number, which repeats it, and a short last chunk."""
    return b"".join(number.to_bytes(4, "little") * (CHUNK // 4) for number in numbers) + b"end"


def digests(data: bytes) -> list[str]:
    return [hex_of(data[at : at + CHUNK]) for at in range(0, len(data), CHUNK)]


def only_file(store: Store) -> RepoFile:
    ((file,),) = (repo.files for repo in refs.resolve(store, "m").manifest.repos)
    return file
