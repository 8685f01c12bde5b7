"""Which commit of each repo to import, and from which object each of its files comes: decided from names and sizes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cas import events
from cas.bucket import Bucket, Entry
from cas.errors import FormatError, InputError, IntegrityError, NotFoundError
from cas.formats.paths import check_tree, match_patterns
from cas.local.hf_cache import etags_of, is_blob, is_commit, tree_files
from cas.ops.import_flat.listing import Found, FoundRepo
from cas.ops.import_flat.placeholders import check_all_real, check_not_all_empty, refusal, stand_in, without_marks
from cas.ops.import_flat.selection import Selection

_REF_LIMIT = 1024
_TREE_LIMIT = 64 * 1024 * 1024
_SECRETS = ("token", "stored_tokens")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file to fetch. path: in its snapshot, or below HF_HOME. names: what its blob may be called, one of them.

    No names where nothing tells what the content should be.
    """

    path: str
    entry: Entry
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RepoPlan:
    """One repo's part. revision: the ref that names the commit, or the commit itself."""

    repo_type: str
    repo_id: str
    commit: str
    revision: str
    files: tuple[Wanted, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to fetch. plain: files below HF_HOME. ignored: how many objects beside, by first folder."""

    repos: tuple[RepoPlan, ...]
    plain: tuple[Wanted, ...]
    ignored: Mapping[str, int]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.entry.size for file in self.files)

    @property
    def files(self) -> list[Wanted]:
        """Of all repos, and the plain ones."""
        return [*(file for repo in self.repos for file in repo.files), *self.plain]


def make_plan(
    bucket: Bucket,
    found: Found,
    selections: Sequence[Selection] | None,
    listen: events.Listener,
    *,
    revision: str | None = None,
    plain: Sequence[str] | None = None,
    partial: bool = False,
) -> Plan:
    """The plan for the repos selected (all when None); raises InputError, NotFoundError, IntegrityError, StoreError.

    revision: for one repo. plain: patterns of plain files, all when None. partial: accept that files are missing.
    """
    chosen = _chosen(bucket, found, selections)
    if revision and len(chosen) != 1:
        raise InputError(f"--revision is for one repo, and {len(chosen)} are to be imported: choose it with --repo")
    files = _plain(bucket, found, plain, listen, partial=partial)
    if not chosen and not files:
        raise NotFoundError(f"{bucket.url} holds no repo of a hub, and torch/ was left out: there is nothing to import")
    for name in (name for name in _SECRETS if name in found.ignored):
        listen(
            events.Warned(
                f"{bucket.url}/{name} looks like an access token of Hugging Face: revoke it and delete it there"
            )
        )
    planned = tuple(
        _Planner(bucket, repo, selection.include, listen).plan(revision or selection.revision, partial=partial)
        for repo, selection in chosen
    )
    left = len(found.plain) - len(files)
    return Plan(planned, files, {**found.ignored, "torch": left} if left else found.ignored)


def _chosen(bucket: Bucket, found: Found, selections: Sequence[Selection] | None) -> list[tuple[FoundRepo, Selection]]:
    """The repos to import, each with what is wanted of it."""
    if selections is None:
        return [(repo, Selection(repo.repo_id)) for repo in found.repos]
    distinct = dict.fromkeys(selections)
    for selection in distinct:
        if not any(map(selection.covers, found.repos)):
            there = ", ".join(repo.repo_id for repo in found.repos) or "none"
            raise NotFoundError(f"{selection.repo_id} is not in {bucket.url}: the repos there are {there}")
    chosen = [(repo, selection) for repo in found.repos for selection in distinct if selection.covers(repo)]
    for (repo, _), (following, _) in pairwise(chosen):
        if repo is following:
            raise InputError(f"{repo.repo_id} is selected twice: name it once, with one revision and all its patterns")
    return chosen


def _plain(
    bucket: Bucket, found: Found, patterns: Sequence[str] | None, listen: events.Listener, *, partial: bool
) -> tuple[Wanted, ...]:
    """The plain files to import."""
    wanted, unmatched = (found.plain, []) if patterns is None else match_patterns(found.plain, patterns)
    if unmatched:
        text = f"{bucket.url} has no file {unmatched[0]}"
        if not partial:
            raise NotFoundError(f"{text}: sync again, or publish what is there with --partial")
        listen(events.Warned(text))
    files = without_marks(bucket, {path: entry for path, entry in found.plain.items() if path in wanted})
    _check_paths(bucket.url, files)
    check_all_real(bucket, files.values(), files.values(), "leave torch/ out with --no-torch")
    return tuple(Wanted(path, entry) for path, entry in files.items())


class _Planner:
    def __init__(self, bucket: Bucket, repo: FoundRepo, include: Sequence[str], listen: events.Listener) -> None:
        self._bucket, self._repo, self._include, self._listen = bucket, repo, include, listen
        self._where = f"{bucket.url}/{repo.folder}"

    def plan(self, revision: str | None, *, partial: bool) -> RepoPlan:
        name, commit = self._choose(revision)
        copies = without_marks(self._bucket, self._repo.snapshots.get(commit, {}))
        listed, copies, unmatched = self._wanted(self._listed(commit), copies)
        known, others = self._from_listing(copies, listed), self._from_snapshot(copies, listed)
        files = known | others
        if missing := [*sorted(listed.keys() - files.keys()), *unmatched]:
            told = "the files that are wanted" if self._include else f"the {len(listed)} files that its listing names"
            text = f"{self._where}: of {told}, {missing[0]} is missing in {commit[:12]} ({len(missing)} in all)"
            if not partial:
                say = "sync again" if self._include else "say which are wanted with --source or --repo and --include"
                raise NotFoundError(f"{text}: {say}, {self._from_hub()}, or take what is there with --partial")
            self._listen(events.Warned(text))
        if not files:
            raise NotFoundError(
                f"{self._where} has none of the files {'wanted ' if self._include else ''}of {commit[:12]} in a "
                f"snapshot, nor a listing that says what its blobs are called: {self._from_hub()}"
            )
        if not listed and (broken := sorted(self._repo.unfinished - self._repo.blobs.keys())):
            self._listen(
                events.Warned(
                    f"{self._where} holds a download of blob {broken[0][:16]}… that was broken off, and no listing to "
                    "compare with: importing the files that are there"
                )
            )
        _check_paths(f"{self._where}/snapshots/{commit[:12]}…", files)
        self._check_real(others.values())
        if not known:
            check_not_all_empty(f"{self._where}/snapshots/{commit[:12]}…", copies, self._from_hub())
        return RepoPlan(
            self._repo.repo_type, self._repo.repo_id, commit, name, tuple(files[path] for path in sorted(files))
        )

    def _choose(self, revision: str | None) -> tuple[str, str]:
        """The ref or commit asked for, or the only one that can be meant, and its commit.

        Where no refs came along, main is that one, too.
        """
        repo = self._repo
        if revision and is_commit(revision):
            return revision, revision
        if revision and (repo.refs or revision != "main"):
            if revision not in repo.refs:
                raise NotFoundError(f"{self._where} has no ref {revision}: it has {self._known()}")
            return revision, self._commit_of(revision)
        if "main" in repo.refs or len(repo.refs) == 1:
            (name,) = ["main"] if "main" in repo.refs else repo.refs
            return name, self._commit_of(name)
        commits = sorted(repo.snapshots.keys() | repo.trees.keys())
        if repo.refs or len(commits) > 1:
            raise InputError(
                f"{self._where} does not say which commit is meant: choose with --revision; {self._known()}"
            )
        if not commits:
            raise NotFoundError(
                f"{self._where} has no refs and no snapshots, so nothing says what its {len(repo.blobs)} blobs are: "
                f"{self._from_hub()}"
            )
        return commits[0], commits[0]

    def _commit_of(self, ref: str) -> str:
        _check_paths(f"{self._where}/refs", [ref])
        entry = self._repo.refs[ref]
        text = bytes(self._bucket.get(entry.key, _REF_LIMIT)).strip().decode("ascii", "replace")
        if not is_commit(text):
            raise IntegrityError(
                f"{self._bucket.url}/{entry.key} holds {text!a:.60}, not a commit: choose one with --revision; "
                f"{self._known()}"
            )
        return text

    def _known(self) -> str:
        commits = sorted(self._repo.snapshots.keys() | self._repo.trees.keys())
        return f"refs {', '.join(sorted(self._repo.refs)) or 'none'}; commits {', '.join(commits) or 'none'}"

    def _wanted(
        self, listed: Mapping[str, object], copies: dict[str, Entry]
    ) -> tuple[Mapping[str, object], dict[str, Entry], list[str]]:
        """What is wanted of a listing and of a snapshot, and the patterns that match nothing in either."""
        if not self._include:
            return listed, copies, []
        paths, unmatched = match_patterns([*listed, *copies], self._include)
        kept = {path: told for path, told in listed.items() if path in paths}
        return kept, {path: entry for path, entry in copies.items() if path in paths}, unmatched

    def _listed(self, commit: str) -> Mapping[str, object]:
        tree = self._repo.trees.get(commit)
        return tree_files(self._bucket.get(tree.key, _TREE_LIMIT)) if tree else {}

    def _from_hub(self) -> str:
        return f"publish it from the hub with `cas publish --repo {self._repo.repo_id}`"

    def _check_real(self, files: Collection[Wanted]) -> None:
        """Whether what no listing tells of is what it seems; what is compared with a blob later need not be read."""
        unknown = [file.entry for file in files if not file.names]
        check_all_real(self._bucket, [file.entry for file in files], unknown, self._from_hub())

    def _from_listing(self, copies: Mapping[str, Entry], listed: Mapping[str, object]) -> dict[str, Wanted]:
        """Files whose content the commit's listing names: from their blobs, or else from the snapshot's copies."""
        files = {}
        for path, etag in etags_of(listed).items():
            if (entry := self._repo.blobs.get(etag) or copies.get(path)) is not None:
                self._check_size(entry, listed[path])
                files[path] = Wanted(path, entry, frozenset({etag}))
        return files

    def _check_size(self, entry: Entry, listed: object) -> None:
        size = listed.get("size") if isinstance(listed, dict) else None
        if isinstance(size, int) and size != entry.size:
            raise self._damaged(entry, f"has {entry.size:,} bytes where the listing says {size:,}")

    def _from_snapshot(self, copies: Mapping[str, Entry], listed: Mapping[str, object]) -> dict[str, Wanted]:
        """Files that no listing tells of: their content must be that of a blob, where there are blobs."""
        named = etags_of(listed)
        blobs = self._repo.blobs
        complete = bool(blobs) and all(map(is_blob, blobs))
        files = {}
        for path, entry in copies.items():
            if path in named:
                continue
            names = _of_size(blobs.values(), entry.size) if complete else frozenset[str]()
            if complete and not names:
                raise self._damaged(entry, f"has {entry.size:,} bytes, as none of the repo's blobs has")
            files[path] = Wanted(path, entry, names)
        return files

    def _damaged(self, entry: Entry, how: str) -> IntegrityError:
        why = stand_in(self._bucket, entry) or f"{how}, so it is damaged or its upload was broken off"
        return refusal(f"{self._bucket.url}/{entry.key}", why, self._from_hub())


def _check_paths(where: str, names: Iterable[str]) -> None:
    try:
        check_tree(names)
    except FormatError as error:
        raise InputError(f"what is in {where} cannot be published: {error}") from None


def _of_size(blobs: Iterable[Entry], size: int) -> frozenset[str]:
    return frozenset(blob.key.rpartition("/")[2] for blob in blobs if blob.size == size)
