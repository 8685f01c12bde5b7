"""What of a model is already on this machine, told by hashing it, or by the receipt of an earlier hashing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cas import events, trust
from cas.config import Limits
from cas.digest import hex_of
from cas.folder import is_file, read_at
from cas.manifest import ChunkRef
from cas.parallel import Pool, for_each
from cas.plan import PARTS, Local, Target
from cas.trust import Seen, Trust


def survey(targets: Sequence[Target], limits: Limits, listen: events.Listener, *, rehash: bool = False) -> list[Local]:
    """What is here of each target.

    rehash: read every file, whatever the receipt says. Unreadable files count as absent.
    """
    receipts = {root: Trust(root) for root in {target.root for target in targets}}
    parts = {root: _part_names(root) for root in receipts}
    states = [_State(target, receipts[target.root], parts[target.root], rehash) for target in targets]
    unread = [look for state in states for look in state.unread()]
    if unread:
        listen(events.Phase("check", sum(look.chunk.size for look in unread)))
        _hash_all(unread, limits, listen)
    return [state.result() for state in states]


class _Look:
    """One chunk of one file, to be hashed where it lies."""

    __slots__ = ("chunk", "file", "index", "offset")

    def __init__(self, file: _File, index: int, offset: int, chunk: ChunkRef) -> None:
        self.file, self.index, self.offset, self.chunk = file, index, offset, chunk


class _File:
    """A local file that may hold a target, whole or in part."""

    def __init__(self, target: Target, parts: tuple[str, ...]) -> None:
        self.target, self.parts = target, parts
        self.path = target.root.joinpath(*parts)
        self.good: set[int] = set()
        self.before = trust.look(self.path, target.content)

    @property
    def whole(self) -> bool:
        """Every chunk was good, there is nothing behind them, and nobody wrote meanwhile."""
        size_right = self.before is not None and self.before.size == self.target.size
        steady = trust.look(self.path, self.target.content) == self.before
        return size_right and steady and len(self.good) == len(self.target.chunks)

    def looks(self) -> Iterator[_Look]:
        size = self.before.size if self.before else 0
        for index, (offset, chunk) in enumerate(self.target.places()):
            if offset + chunk.size <= size:
                yield _Look(self, index, offset, chunk)


class _State:
    """The candidates for one target."""

    def __init__(self, target: Target, receipt: Trust, parts: list[str], rehash: bool) -> None:
        self.target = target
        self.trusted: dict[tuple[str, ...], Seen] = {}
        self.files: list[_File] = []
        for place in _candidates(target):
            seen = None if rehash else receipt.find(place, target.content)
            if seen:
                self.trusted[place] = seen
            else:
                self.files.append(_File(target, place))
        self.parts: list[_File] = []
        if not self.trusted:
            mine = [name for name in parts if name.startswith(target.content)]
            self.parts = [_File(target, (*PARTS, name)) for name in mine]

    def unread(self) -> Iterator[_Look]:
        for file in (*self.files, *self.parts):
            yield from file.looks()

    def result(self) -> Local:
        whole = self.trusted | {file.parts: file.before for file in self.files if file.before and file.whole}
        if whole:
            return Local(whole)
        parts = sorted(self.parts, key=lambda file: len(file.good), reverse=True)
        return Local(
            {},
            tuple((file.parts, frozenset(file.good)) for file in self.files if file.good),
            tuple((file.parts[-1], frozenset(file.good)) for file in parts),
        )


def _candidates(target: Target) -> Iterator[tuple[str, ...]]:
    """Files that may hold the target: its place, and snapshot files that are no links (a volume without symlinks)."""
    first = _lstat(target.path)
    if first is not None and not stat.S_ISDIR(first.st_mode):
        yield target.parts
    for name in target.names:
        found = _lstat(target.root.joinpath(*name))
        if is_file(found) and not (first and found and os.path.samestat(first, found)):
            yield name


def _hash_all(looks: Sequence[_Look], limits: Limits, listen: events.Listener) -> None:
    largest = max(look.chunk.size for look in looks)
    threads = max(1, min(limits.workers, limits.budget // largest))
    buffers = Pool(bytearray, threads)

    def hash_one(look: _Look) -> None:
        with buffers.lend() as buffer, _opened(look.file.path) as fd:
            if fd is None:
                return
            if len(buffer) < look.chunk.size:
                buffer.extend(bytes(look.chunk.size - len(buffer)))
            with memoryview(buffer) as whole, whole[: look.chunk.size] as view:
                if read_at(fd, view, look.offset) == look.chunk.size and hex_of(view) == look.chunk.digest:
                    look.file.good.add(look.index)
        listen(events.Moved(look.chunk.size, source="local"))

    for_each(hash_one, looks, threads=threads)


@contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)


def _part_names(root: Path) -> list[str]:
    """Part files that may be gone on with; not what somebody linked there, which would be written to elsewhere."""
    folder = root.joinpath(*PARTS)
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".part"))
    except OSError:
        return []
    found = ((name, _lstat(folder / name)) for name in names)
    return [name for name, stats in found if stats and is_file(stats) and stats.st_nlink == 1]


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None
