"""What of that which lies there is wanted: which repos, at which revision, and which of their files."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cas.importer.found import FoundRepo


@dataclass(frozen=True, slots=True)
class Selection:
    """One repo that is wanted.

    repo_type: any when None. revision: a ref or commit; when None main, or the only one there. include: glob patterns
    of its files, all when empty.
    """

    repo_id: str
    repo_type: str | None = None
    revision: str | None = None
    include: tuple[str, ...] = ()

    def covers(self, repo: FoundRepo) -> bool:
        """Whether that is the repo meant."""
        return repo.repo_id == self.repo_id and self.repo_type in (None, repo.repo_type)


def matching(paths: Iterable[str], patterns: Sequence[str]) -> tuple[set[str], list[str]]:
    """Those of `paths` that a pattern matches, as huggingface_hub matches them, and the patterns that match none."""
    everything = set(paths)
    matched = {
        pattern: {path for path in everything if fnmatch.fnmatchcase(path, _whole_folder(pattern))}
        for pattern in patterns
    }
    return set().union(*matched.values()), [pattern for pattern, found in matched.items() if not found]


def _whole_folder(pattern: str) -> str:
    return pattern + "*" if pattern.endswith("/") else pattern
