"""What a restore may do outside the hub cache: write a version's plain files, and replace only what a restore wrote.

A plain file lies where the user's own files may lie, unlike a blob, whose name says what it holds. So a file there is
replaced only if the record of verified files names it. The paths that a restore is about to write are entered into that
record before the first byte moves: if the restore is killed, the next one knows whose files they are.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cas.config import CacheDirs
from cas.errors import CacheError
from cas.formats.digest import hex_of
from cas.formats.paths import PLAIN_FILE_FOLDER
from cas.local.fs import open_for_reading, read_at
from cas.local.hf_cache import PRIVATE
from cas.local.targets import Target
from cas.local.verified import VerifiedFiles
from cas.ops.restore.plan import Plan

# What a directory may hold to become HF_HOME only because the hub cache that the user named is in it.
_OF_A_HOME = frozenset({"hub", PLAIN_FILE_FOLDER, PRIVATE})


def check_home(dirs: CacheDirs) -> None:
    """Refuse to put plain files into a directory that is HF_HOME for no better reason than holding the hub cache.

    A directory that does not exist yet, that has nothing in it but a cache, or that an earlier restore put plain files
    into is accepted.

    Raises:
        CacheError: the directory holds other things, or cannot be listed.
    """
    if not dirs.home_is_implied or (os.path.isdir(dirs.home / PRIVATE) and not os.path.islink(dirs.home / PRIVATE)):
        return
    try:
        others = sorted(set(os.listdir(dirs.home)) - _OF_A_HOME)
    except FileNotFoundError:
        return
    except OSError as error:
        raise CacheError(f"{dirs.home} cannot be listed ({error.strerror}): {_advice(dirs)}") from error
    if others:
        raise CacheError(
            f"the version has files below {PLAIN_FILE_FOLDER}/ in HF_HOME, and {dirs.home} holds other things than a "
            f"cache ({others[0]!a}): {_advice(dirs)}"
        )


def _advice(dirs: CacheDirs) -> str:
    return f"set HF_HOME={dirs.home} if it is meant to get them, or choose another --cache-dir"


class PlainFileGuard:
    """Keeps one restore from replacing a plain file that no restore wrote.

    Attributes:
        elsewhere: where else the user may restore to, as the error says it.
    """

    elsewhere = "another HF_HOME"

    def __init__(self) -> None:
        self._claimed: set[Path] = set()
        self._replaceable: set[Path] = set()

    def check(self, plan: Plan) -> None:
        """Refuse a plan that would replace a file which no record names.

        Raises:
            CacheError: there is such a file; nothing has been written.
        """
        self._replaceable = set()
        records: dict[Path, VerifiedFiles] = {}
        for target in _pending(plan):
            if self._is_recorded(target, records):
                self._replaceable.add(target.path)
            else:
                self.check_file(target)

    def claim(self, plan: Plan) -> None:
        """Enter the plain files that will be written into the records of their roots.

        Raises:
            CacheError: a record cannot be written.
        """
        claims: dict[Path, list[Target]] = {}
        for target in _pending(plan):
            if target.path not in self._replaceable | self._claimed:
                claims.setdefault(target.root, []).append(target)
                self._claimed.add(target.path)
        for root, targets in claims.items():
            self._enter(root, targets)

    def check_file(self, target: Target) -> None:
        """Refuse to give a finished plain file its final name if a file of somebody else is in the way.

        Raises:
            CacheError: there is a file that no restore wrote, and that does not hold the target's bytes.
        """
        if target.path not in self._replaceable and os.path.lexists(target.path) and not _holds(target):
            raise CacheError(
                f"{target.path} is in the way: no restore wrote it, so it is not replaced. Move it away and restore "
                f"again, or restore into {self.elsewhere}"
            )

    def _is_recorded(self, target: Target, records: dict[Path, VerifiedFiles]) -> bool:
        """Return whether the record of the target's root names its file; `records` are those that were read so far."""
        record = records.get(target.root) or records.setdefault(target.root, VerifiedFiles(target.root))
        # What this restore claimed itself is no proof that a restore wrote the file that is there now.
        return record.names(target.components, claimed=target.path not in self._claimed)

    def _enter(self, root: Path, targets: Sequence[Target]) -> None:
        """Enter files into the record of their root."""
        VerifiedFiles(root).claim({target.components: target.content for target in targets})


def _pending(plan: Plan) -> list[Target]:
    return [pending.target for pending in plan.pending_files if pending.target.repo is None]


def _holds(target: Target) -> bool:
    """Return whether the file at a target's path holds its bytes: another restore may have written them just now."""
    try:
        with open_for_reading(target.path) as fd:
            if os.fstat(fd).st_size != target.size:
                return False
            for offset, chunk in target.chunk_offsets():
                buffer = bytearray(chunk.size)
                if read_at(fd, memoryview(buffer), offset) != chunk.size or hex_of(buffer) != chunk.digest:
                    return False
    except OSError:
        return False
    return True
