"""The plan of an import: which repos and plain files to fetch, decided from names, sizes and small objects alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cas import events
from cas.bucket import Bucket
from cas.errors import InputError, NotFoundError
from cas.formats.paths import PLAIN_FILE_FOLDER, match_patterns
from cas.ops.import_flat.listing import Listing, RepoListing, Selection
from cas.ops.import_flat.placeholders import refuse_placeholders, without_folder_marks
from cas.ops.import_flat.repo_plan import RepoPlan, RepoPlanner, WantedFile, check_paths

_SECRETS = ("token", "stored_tokens")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to fetch.

    Attributes:
        repos: a plan for each repo.
        plain_files: files below HF_HOME, outside any repo.
        ignored: for each top-level folder of objects that are left out, how many there are.
    """

    repos: tuple[RepoPlan, ...]
    plain_files: tuple[WantedFile, ...]
    ignored: Mapping[str, int]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.entry.size for file in self.files)

    @property
    def files(self) -> list[WantedFile]:
        """The files of all repos, then the plain files."""
        return [*(file for repo in self.repos for file in repo.files), *self.plain_files]


def make_plan(
    bucket: Bucket,
    listing: Listing,
    selections: Sequence[Selection] | None,
    listen: events.Listener,
    *,
    revision: str | None = None,
    plain_patterns: Sequence[str] | None = None,
    partial: bool = False,
) -> Plan:
    """Return the plan for the repos and plain files that are wanted.

    Args:
        bucket: the source, from which refs, tree listings and small objects are read.
        listing: the objects of the source.
        selections: the repos that are wanted; None for all.
        listen: receives warnings.
        revision: the ref or commit to take, if one repo is to be imported.
        plain_patterns: glob patterns of the plain files that are wanted; None for all.
        partial: accept that files are missing.

    Raises:
        InputError: the source or the selection is ambiguous, or holds what no manifest may name.
        NotFoundError: something that is wanted is not there.
        IntegrityError: something is damaged, or a placeholder.
        StoreError: the source cannot be read.
    """
    chosen = _choose_repos(bucket, listing, selections)
    if revision and len(chosen) != 1:
        raise InputError(f"--revision is for one repo, and {len(chosen)} are to be imported: choose it with --repo")
    plain_files = _choose_plain_files(bucket, listing, plain_patterns, listen, partial=partial)
    if not chosen and not plain_files:
        raise NotFoundError(f"{bucket.url} holds no repo of a hub, and torch/ was left out: there is nothing to import")
    for name in (name for name in _SECRETS if name in listing.ignored):
        listen(
            events.Warned(
                f"{bucket.url}/{name} looks like an access token of Hugging Face: revoke it and delete it there"
            )
        )
    planned = tuple(
        RepoPlanner(bucket, repo, selection, listen).plan(revision or selection.revision, partial=partial)
        for repo, selection in chosen
    )
    left_out = len(listing.plain_files) - len(plain_files) + listing.ignored.get(PLAIN_FILE_FOLDER, 0)
    return Plan(planned, plain_files, {**listing.ignored, PLAIN_FILE_FOLDER: left_out} if left_out else listing.ignored)


def _choose_repos(
    bucket: Bucket, listing: Listing, selections: Sequence[Selection] | None
) -> list[tuple[RepoListing, Selection]]:
    """The repos to import, each with what is wanted of it."""
    if selections is None:
        return [(repo, Selection(repo.repo_id)) for repo in listing.repos]
    distinct = dict.fromkeys(selections)
    for selection in distinct:
        if not any(map(selection.matches, listing.repos)):
            there = ", ".join(repo.repo_id for repo in listing.repos) or "none"
            raise NotFoundError(f"{selection.repo_id} is not in {bucket.url}: the repos there are {there}")
    chosen = [(repo, selection) for repo in listing.repos for selection in distinct if selection.matches(repo)]
    for (repo, _), (following, _) in pairwise(chosen):
        if repo is following:
            raise InputError(f"{repo.repo_id} is selected twice: name it once, with one revision and all its patterns")
    return chosen


def _choose_plain_files(
    bucket: Bucket, listing: Listing, patterns: Sequence[str] | None, listen: events.Listener, *, partial: bool
) -> tuple[WantedFile, ...]:
    found = listing.plain_files
    wanted, unmatched = (found, []) if patterns is None else match_patterns(found, patterns)
    if unmatched:
        text = f"{bucket.url} has no file {unmatched[0]}"
        if not partial:
            raise NotFoundError(f"{text}: sync again, or publish what is there with --partial")
        listen(events.Warned(text))
    files = without_folder_marks(bucket, {path: entry for path, entry in found.items() if path in wanted})
    check_paths(bucket.url, files)
    refuse_placeholders(bucket, files.values(), files.values(), "leave torch/ out with --no-torch")
    return tuple(WantedFile(path, entry) for path, entry in files.items())
