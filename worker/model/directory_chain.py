"""Restore a version into the first cache directory that takes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cas
from cas.errors import CacheError
from cas.events import Listener
from cas.refs.reference import Resolved
from worker.boot import directories, environment
from worker.boot.directories import RankedDirectory
from worker.boot.settings import Settings
from worker.model.recorder import Recorder
from worker.speech.file_roles import Choose, files_of

if TYPE_CHECKING:
    from cas.store.store import Store


class DirectoryChain:
    """The cache directories, of which the next is tried when one does not take a version."""

    def __init__(self, settings: Settings, paths: Sequence[Path], recorder: Recorder, choose: Choose) -> None:
        """Prepare; nothing is read yet.

        Args:
            settings: what the environment asks for.
            paths: directories that passed the checks, in the order of CAS_CACHE_DIRS.
            recorder: gets a warning for each directory that does not take a version.
            choose: called with the files and the reference of a version before that is restored.
        """
        self._settings, self._paths, self._recorder, self._choose = settings, paths, recorder, choose

    def restore(
        self, version: Resolved, store: Store, listen: Listener, seeds: Iterable[Path] = ()
    ) -> tuple[RankedDirectory, cas.Restored]:
        """Restore a version; return where, and what the restore did.

        Args:
            version: the version.
            store: has its chunks.
            listen: hears what happens.
            seeds: folders that may hold some of its bytes, beside the other directories and those of the settings.

        Raises:
            CacheError: no directory takes it.
            CasError: as `cas.restore`.
        """
        self._choose(files_of(version.manifest.repos), version.exact)
        ranked, small = directories.rank(self._paths, version.manifest)
        problems = [f"{finding.path}: {finding.problem}" for finding in small]
        for problem in problems:
            self._recorder.warn(f"{problem}; trying the next directory")
        for directory in ranked:
            environment.apply(directory.path)
            hub = environment.hub_of(directory.path)
            others = (path for path in self._paths if path != directory.path and path.is_dir())
            every = [*seeds, *self._settings.seeds, *others]
            try:
                return directory, cas.restore(version, store, cache_dir=hub, seeds=every, on_event=listen)
            except CacheError as error:
                problems.append(f"{directory.path}: {error}")
                self._recorder.warn(f"{problems[-1]}; trying the next directory")
        raise CacheError(f"no directory of CAS_CACHE_DIRS takes {version.exact}: {'; '.join(problems)}")
