"""Files of a known version from Hugging Face, in a folder of their own in a cache directory: a seed for a restore."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cas.config import CacheDirs
from cas.errors import CacheError
from cas.formats.manifest import Manifest
from cas.ops.restore.hub_files import MissingFiles, download_missing_files, find_missing_files
from worker.boot import directories, environment
from worker.model.recorder import Recorder

_PREFIX = "download-"

# Seconds. A boot is given up before that (worker/boot/time_limit.py): an older folder is a killed process's.
_ABANDONED_AFTER = 7200.0


@dataclass(frozen=True, slots=True)
class DownloadedFiles:
    """Files from the hub, not verified.

    Attributes:
        folder: the hub cache that they are in.
        problems: why the hub did not give a file, for each that it did not give.
    """

    folder: Path
    problems: Sequence[str]


@contextlib.contextmanager
def download_seed(manifest: Manifest, paths: Sequence[Path], recorder: Recorder) -> Iterator[DownloadedFiles]:
    """Download the files of a version that are not on this machine; the end of the `with` block removes them.

    They go into the first of the directories with room for them and for what a restore makes of them.

    Args:
        manifest: the version.
        paths: the cache directories that the version may be restored into, in the order of trying.
        recorder: receives phases and warnings.

    Raises:
        AccessDenied: a repo is gated, and the user has not accepted its terms.
        CacheError: no directory takes the files.
        StoreError: the hub cannot be reached, or fails.
    """
    problems: list[str] = []
    with contextlib.ExitStack() as stack:
        for path in paths:
            try:
                missing = find_missing_files(manifest, CacheDirs(environment.hub_of(path), path), recorder.listen)
                _check_space(manifest, missing, path)
                folder = stack.enter_context(_scratch_folder(path))
                found = DownloadedFiles(folder, download_missing_files(manifest, missing, folder, recorder.listen))
                break
            except CacheError as error:
                problems.append(f"{path}: {error}")
                recorder.warn(f"{problems[-1]}; trying the next directory")
                stack.close()
        else:
            raise CacheError(f"no directory of CAS_CACHE_DIRS takes a download: {'; '.join(problems)}")
        yield found


def _check_space(manifest: Manifest, missing: MissingFiles, path: Path) -> None:
    try:
        needed = missing.size + directories.missing(manifest, path)
        problem = directories.free_space(path).problem(needed)
    except OSError as error:
        raise CacheError(str(error.strerror)) from error
    if problem:
        raise CacheError(problem)


@contextlib.contextmanager
def _scratch_folder(path: Path) -> Iterator[Path]:
    """A folder for this process alone. It is removed at the end, and so are those of processes that were killed."""
    parent = path / directories.OWN
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for left in parent.glob(f"{_PREFIX}*"):
            if time.time() - left.lstat().st_mtime > _ABANDONED_AFTER:
                shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    except OSError as error:
        raise CacheError(f"{error.filename or parent}: {error.strerror}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
