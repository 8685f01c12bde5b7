"""The plan for one repo of an import: which commit to take, and from which object each of its files comes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from cas import events
from cas.bucket import Bucket, Entry
from cas.errors import FormatError, InputError, IntegrityError, NotFoundError
from cas.formats.paths import check_tree, match_patterns
from cas.local.hf_cache import etags_of, is_blob, is_commit, tree_files
from cas.ops.import_flat.listing import RepoListing, Selection
from cas.ops.import_flat.placeholders import (
    describe_placeholder,
    placeholder_error,
    refuse_empty_snapshot,
    refuse_placeholders,
    without_folder_marks,
)

# Bytes that a ref, and a tree listing, may have.
_REF_LIMIT = 1024
_TREE_LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class WantedFile:
    """One file to fetch.

    Attributes:
        path: relative to its repo, or to HF_HOME for a plain file.
        entry: the object that holds its content.
        names: the names that its content may have (sha256 or git sha1); empty if nothing in the source names it.
    """

    path: str
    entry: Entry
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RepoPlan:
    """What to fetch of one repo.

    Attributes:
        repo_type: model, dataset or space.
        repo_id: `ORG/NAME`, or a name alone.
        commit: the commit to rebuild, 40 hex digits.
        revision: the ref that names the commit, or the commit itself.
        files: ordered by path.
    """

    repo_type: str
    repo_id: str
    commit: str
    revision: str
    files: tuple[WantedFile, ...]


class RepoPlanner:
    """Plans the import of one repo.

    Args:
        bucket: the source.
        repo: the repo's objects.
        selection: which of its files are wanted.
        listen: receives warnings.
    """

    def __init__(self, bucket: Bucket, repo: RepoListing, selection: Selection, listen: events.Listener) -> None:
        self._bucket, self._repo, self._listen = bucket, repo, listen
        self._include, self._exclude = selection.include, selection.exclude
        self._where = f"{bucket.url}/{repo.folder}"

    def plan(self, revision: str | None, *, partial: bool) -> RepoPlan:
        """Return the plan for a revision.

        Args:
            revision: a ref or a commit; None for main, or for the only revision that the source has.
            partial: accept that files are missing, with a warning.

        Raises:
            InputError: several revisions could be meant, or a path is one that no manifest may name.
            NotFoundError: the revision, or a file that is wanted, is not there.
            IntegrityError: a ref or a file is damaged, or a placeholder.
            StoreError: the source cannot be read.
        """
        name, commit = self._choose_commit(revision)
        copies = without_folder_marks(self._bucket, self._repo.snapshots.get(commit, {}))
        listed, copies, unmatched = self._select(self._read_tree(commit), copies)
        from_listing, from_snapshot = self._listed_files(copies, listed), self._unlisted_files(copies, listed)
        files = from_listing | from_snapshot
        if missing := [*sorted(listed.keys() - files.keys()), *unmatched]:
            which = "the files that are wanted" if self._include else f"the {len(listed)} files that its listing names"
            text = f"{self._where}: of {which}, {missing[0]} is missing in {commit[:12]} ({len(missing)} in all)"
            if not partial:
                advice = "sync again" if self._include else "say which are wanted with --source or --repo and --include"
                raise NotFoundError(f"{text}: {advice}, {self._hub_advice()}, or take what is there with --partial")
            self._listen(events.Warned(text))
        if not files:
            raise NotFoundError(
                f"{self._where} has none of the files {'wanted ' if self._include else ''}of {commit[:12]} in a "
                f"snapshot, nor a listing that says what its blobs are called: {self._hub_advice()}"
            )
        if not listed and (broken := sorted(self._repo.unfinished - self._repo.blobs.keys())):
            self._listen(
                events.Warned(
                    f"{self._where} holds a download of blob {broken[0][:16]}… that was broken off, and no listing to "
                    "compare with: importing the files that are there"
                )
            )
        check_paths(f"{self._where}/snapshots/{commit[:12]}…", files)
        self._refuse_placeholders(from_snapshot.values())
        if not from_listing:
            refuse_empty_snapshot(f"{self._where}/snapshots/{commit[:12]}…", copies, self._hub_advice())
        return RepoPlan(
            self._repo.repo_type, self._repo.repo_id, commit, name, tuple(files[path] for path in sorted(files))
        )

    def _choose_commit(self, revision: str | None) -> tuple[str, str]:
        """The revision to take (a ref or a commit), and its commit.

        Without refs in the source, main means the only commit that is there.
        """
        repo = self._repo
        if revision and is_commit(revision):
            return revision, revision
        if revision and (repo.refs or revision != "main"):
            if revision not in repo.refs:
                raise NotFoundError(f"{self._where} has no ref {revision}: it has {self._revisions()}")
            return revision, self._commit_of(revision)
        if "main" in repo.refs or len(repo.refs) == 1:
            (name,) = ["main"] if "main" in repo.refs else repo.refs
            return name, self._commit_of(name)
        commits = sorted(repo.snapshots.keys() | repo.trees.keys())
        if repo.refs or len(commits) > 1:
            raise InputError(
                f"{self._where} does not say which commit is meant: choose with --revision; {self._revisions()}"
            )
        if not commits:
            raise NotFoundError(
                f"{self._where} has no refs and no snapshots, so nothing says what its {len(repo.blobs)} blobs are: "
                f"{self._hub_advice()}"
            )
        return commits[0], commits[0]

    def _commit_of(self, ref: str) -> str:
        check_paths(f"{self._where}/refs", [ref])
        entry = self._repo.refs[ref]
        text = bytes(self._bucket.get(entry.key, _REF_LIMIT)).strip().decode("ascii", "replace")
        if not is_commit(text):
            raise IntegrityError(
                f"{self._bucket.url}/{entry.key} holds {text!a:.60}, not a commit: choose one with --revision; "
                f"{self._revisions()}"
            )
        return text

    def _revisions(self) -> str:
        commits = sorted(self._repo.snapshots.keys() | self._repo.trees.keys())
        return f"refs {', '.join(sorted(self._repo.refs)) or 'none'}; commits {', '.join(commits) or 'none'}"

    def _select(
        self, listed: Mapping[str, object], copies: dict[str, Entry]
    ) -> tuple[Mapping[str, object], dict[str, Entry], list[str]]:
        """What is wanted of a tree listing and of a snapshot, and the patterns that match nothing in either."""
        if not self._include and not self._exclude:
            return listed, copies, []
        every_path = {*listed, *copies}
        paths, unmatched = match_patterns(every_path, self._include) if self._include else (every_path, [])
        paths = paths - match_patterns(paths, self._exclude)[0]
        wanted = {path: entry for path, entry in listed.items() if path in paths}
        return wanted, {path: entry for path, entry in copies.items() if path in paths}, unmatched

    def _read_tree(self, commit: str) -> Mapping[str, object]:
        tree = self._repo.trees.get(commit)
        return tree_files(self._bucket.get(tree.key, _TREE_LIMIT)) if tree else {}

    def _hub_advice(self) -> str:
        return f"publish it from the hub with `cas publish --repo {self._repo.repo_id}`"

    def _refuse_placeholders(self, files: Collection[WantedFile]) -> None:
        """Check files that no tree listing names. Those that are compared with a blob's name later need not be read."""
        unnamed = [file.entry for file in files if not file.names]
        refuse_placeholders(self._bucket, [file.entry for file in files], unnamed, self._hub_advice())

    def _listed_files(self, copies: Mapping[str, Entry], listed: Mapping[str, object]) -> dict[str, WantedFile]:
        """Files whose content the tree listing names. Each comes from its blob, or else from the snapshot's copy."""
        files = {}
        for path, etag in etags_of(listed).items():
            if (entry := self._repo.blobs.get(etag) or copies.get(path)) is not None:
                self._check_size(entry, listed[path])
                files[path] = WantedFile(path, entry, frozenset({etag}))
        return files

    def _check_size(self, entry: Entry, listed: object) -> None:
        size = listed.get("size") if isinstance(listed, dict) else None
        if isinstance(size, int) and size != entry.size:
            raise self._damaged(entry, f"has {entry.size:,} bytes where the listing says {size:,}")

    def _unlisted_files(self, copies: Mapping[str, Entry], listed: Mapping[str, object]) -> dict[str, WantedFile]:
        """Files that no tree listing names. If the source has blobs, their content must be that of a blob."""
        named = etags_of(listed)
        blobs = self._repo.blobs
        are_named = bool(blobs) and all(map(is_blob, blobs))
        files = {}
        for path, entry in copies.items():
            if path in named:
                continue
            names = _names_of_size(blobs.values(), entry.size) if are_named else frozenset[str]()
            if are_named and not names:
                raise self._damaged(entry, f"has {entry.size:,} bytes, as none of the repo's blobs has")
            files[path] = WantedFile(path, entry, names)
        return files

    def _damaged(self, entry: Entry, how: str) -> IntegrityError:
        why = describe_placeholder(self._bucket, entry) or f"{how}, so it is damaged or its upload was broken off"
        return placeholder_error(f"{self._bucket.url}/{entry.key}", why, self._hub_advice())


def check_paths(where: str, names: Iterable[str]) -> None:
    """Raise InputError unless a manifest may hold files at all these paths. where: names their folder in the error."""
    try:
        check_tree(names)
    except FormatError as error:
        raise InputError(f"what is in {where} cannot be published: {error}") from None


def _names_of_size(blobs: Iterable[Entry], size: int) -> frozenset[str]:
    return frozenset(blob.key.rpartition("/")[2] for blob in blobs if blob.size == size)
