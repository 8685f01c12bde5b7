"""What of that which lies there is wanted: which repos, at which revision, and which of their files."""

from __future__ import annotations

from dataclasses import dataclass

from cas.ops.import_flat.listing import FoundRepo


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
