"""What a restore writes into a folder of the user's: plain files, which replace only files that restores made."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cas import events
from cas.errors import CacheError
from cas.formats.manifest import Manifest
from cas.local.folder_record import FolderRecord, parents_of
from cas.local.hf_cache import PRIVATE
from cas.local.targets import Target
from cas.local.verified import Stamps, VerifiedFiles
from cas.ops.restore.folder import Folder, Placed, arrange
from cas.ops.restore.leftovers import find_leftovers, is_as_left, remove_leftovers
from cas.ops.restore.link import write_records
from cas.ops.restore.plain_files import PlainFileGuard
from cas.ops.restore.plan import Plan


class FolderTargets:
    """The targets of versions in a folder, and what becomes of the folder when they are complete.

    Attributes:
        directory: the folder.
        targets: the files to be there.
        guard: keeps them from replacing what no restore made.
        placed: the same targets, each with the file of a version that it is.
        removed: paths of files that were removed, or would be, as earlier restores made them and this one names others.
    """

    def __init__(self, manifests: Sequence[Manifest], folder: Folder) -> None:
        """Find out what goes where; nothing is read.

        Raises:
            InputError: the versions do not fit into one folder; see `arrange`.
        """
        self.directory, self._delete = Path(folder.path), folder.delete
        self.placed: list[Placed] = arrange(manifests, folder)
        self.targets = tuple(placed.target for placed in self.placed)
        self.guard = _FolderGuard()
        self.removed: tuple[str, ...] = ()

    @property
    def paths(self) -> dict[str, int]:
        """Each file's path below the folder, and its size in bytes."""
        return {"/".join(target.components): target.size for target in self.targets}

    def check(self) -> None:
        """Refuse a folder in which a symlink or a file is where a directory belongs; note what is to be removed.

        Raises:
            CacheError: there is such a symlink or file. A restore follows no symlink below the folder.
        """
        wanted = {parent for path in self.paths for parent in parents_of(path)} | {PRIVATE}
        for parent in sorted(wanted):
            path = self.directory / parent
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                if not stat.S_ISDIR(os.lstat(path).st_mode):
                    raise CacheError(
                        f"{path} is a symlink or a file where a directory belongs: a restore follows no link inside "
                        "its folder; move it away, or name the folder that it leads to with another --to"
                    )
        if self._delete:
            self.removed = tuple(find_leftovers(self.directory, self.paths))

    def claim(self, plan: Plan) -> None:
        """Record what is going to be made; raises CacheError."""
        self.guard.claim(plan)

    def settle(self) -> None:
        """Leave what has not been made out of the record, when the restore fails: it may become the user's."""
        with contextlib.suppress(CacheError):  # what ended the restore is the better error
            FolderRecord(self.directory).settle()

    def wants_lock(self, plan: Plan) -> bool:
        """Return whether something of the folder or its records will be written although no file is missing."""
        record = VerifiedFiles(self.directory)
        stamps = (item for complete in plan.complete for item in complete.items())
        return bool(self.removed) or not all(record.is_recorded(components, stamp) for components, stamp in stamps)

    def make_visible(self, complete: Mapping[Target, Stamps], listen: events.Listener) -> None:
        """Record the complete files, and remove what earlier restores left, if that is wanted.

        Args:
            complete: the stamps of the verified files that hold each target.
            listen: hears a warning for a file that is left as it was changed, and when no record can be written.

        Raises:
            CacheError: the folder cannot be written.
        """
        write_records(complete, listen)
        if self._delete:
            self.removed = remove_leftovers(self.directory, self.paths, listen)


class _FolderGuard(PlainFileGuard):
    """Keeps a restore from replacing what no restore made in a folder, whatever bytes were found to be right there."""

    elsewhere = "another folder"

    def __init__(self) -> None:
        super().__init__()
        self._recorded: dict[Path, frozenset[str]] = {}

    def check(self, plan: Plan) -> None:
        """Refuse what no restore made; what others made since the last plan counts, as long as nothing is claimed."""
        if not self._claimed:
            self._recorded.clear()
        super().check(plan)

    def _is_recorded(self, target: Target, records: dict[Path, VerifiedFiles]) -> bool:
        # Read once: what this restore enters later is no proof that a restore made the file that is there then.
        if target.root not in self._recorded:
            self._recorded[target.root] = FolderRecord(target.root).files
        path = "/".join(target.components)
        if path not in self._recorded[target.root]:
            return False
        # A killed restore may have entered a file that it never made, and the user have put one there since.
        record = records.get(target.root) or records.setdefault(target.root, VerifiedFiles(target.root))
        was_finished = record.claimed_chunks(target.components) is None or not os.path.lexists(target.path)
        return was_finished or is_as_left(target.root, path, record)

    def _enter(self, root: Path, targets: Sequence[Target]) -> None:
        FolderRecord(root).claim("/".join(target.components) for target in targets)
        contents = {target.components: target.content for target in targets}
        VerifiedFiles(root).claim(contents, {target.content: target.chunks for target in targets})


@contextlib.contextmanager
def errors_of_folder() -> Iterator[None]:
    """Have errors of the disk name the option by which the user chose the folder, instead of that of the cache."""
    try:
        yield
    except CacheError as error:
        raise type(error)(str(error).replace("--cache-dir", "--to")) from error
