"""The plan of a publish: which files are read, and what the parent's manifest tells about the others."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias

from cas.formats.digest import hex_of
from cas.formats.manifest import ChunkRef, Manifest, PlainFile, Repo, RepoFile
from cas.hub.gather import Gathered, LocalRepo
from cas.local.hf_cache import SnapshotFile
from cas.ops.publish.file_reader import FileReader, FileSlice

FileKey: TypeAlias = tuple[str, str | None]
"""Two files of one key have one content: the same file on disk, under the same blob name."""


class Content(NamedTuple):
    """What a file consists of.

    Attributes:
        size: in bytes.
        blob: the name of its content (64 or 40 hex); empty for a plain file.
        chunks: its chunks, in order.
    """

    size: int
    blob: str
    chunks: tuple[ChunkRef, ...]


class PublishPlan:
    """Every gathered file, with each distinct content once.

    A file whose blob the parent names is not read: a blob's name vouches for its content.

    Attributes:
        slices: for each chunk (64 hex) of the files that are not read, where its bytes can be read if need be.
    """

    def __init__(
        self, gathered: Gathered, parent: Manifest | None, contents: Mapping[FileKey, Content] | None = None
    ) -> None:
        """Open every file that is to be read, and cut it into chunks.

        Args:
            gathered: the files to publish.
            parent: the manifest whose blobs and chunks are taken as known; None to read every file.
            contents: the contents of all files where they are known; then no file is read.

        Raises:
            CacheError: a file changed since it was listed, or its disk fails.
            InputError: this user may not read a file.
        """
        self._gathered = gathered
        parent_files = [file for repo in parent.repos for file in repo.files] if parent else []
        parent_blobs = {file.blob: file for file in parent_files}
        self.slices: dict[str, FileSlice] = {}
        self._known: dict[FileKey, Content] = {}
        self._readers: dict[FileKey, FileReader] = {}
        in_repos = [file for repo in gathered.repos for file in repo.files]
        need_blob = {key_of(file) for file in in_repos}
        # A blob under several paths is read once.
        for key, file in {key_of(file): file for file in (*in_repos, *gathered.plain_files)}.items():
            if contents is not None:
                self._take(file, contents[key])
            elif not self._take_from_parent(file, parent_blobs):
                self._readers[key] = FileReader(file, parent_files, needs_blob=key in need_blob)

    @property
    def readers(self) -> list[FileReader]:
        """The files to read, in the order of the listing."""
        return list(self._readers.values())

    @property
    def files_to_read(self) -> list[SnapshotFile]:
        """The gathered files whose content is read, each under every path that it has."""
        files = (*(file for repo in self._gathered.repos for file in repo.files), *self._gathered.plain_files)
        return [file for file in files if key_of(file) in self._readers]

    @property
    def bytes_to_read(self) -> int:
        """Bytes of all files to read."""
        return sum(reader.size for reader in self.readers)

    @property
    def may_match_parent(self) -> bool:
        """Whether every file to read may still prove to have the content of a file of the parent."""
        return all(reader.may_match_parent for reader in self.readers)

    def _take_from_parent(self, file: SnapshotFile, parent_blobs: dict[str, RepoFile]) -> bool:
        """Take a file's content from the parent, if the parent names its blob; return whether it does."""
        known = parent_blobs.get(file.blob or "")
        if known is None or known.size != file.size:
            return False
        self._take(file, Content(known.size, known.blob, known.chunks))
        return True

    def _take(self, file: SnapshotFile, content: Content) -> None:
        self._known[key_of(file)] = content
        offset = 0
        for chunk in content.chunks:
            self.slices.setdefault(chunk.digest, FileSlice(file.real, offset, chunk.size, None))
            offset += chunk.size

    def entries(self, *, placeholders: bool = False) -> tuple[tuple[Repo, ...], tuple[PlainFile, ...]]:
        """Return the repos and the plain files of the manifest to be.

        Args:
            placeholders: True before the files are read, when digests and blobs are not known yet: numbers stand in
                for them, so that the manifest has its final size and shape. False after all files are read.
        """
        numbers = (f"{number:064x}" for number in itertools.count())
        contents = dict(self._known)
        for key, reader in self._readers.items():
            if placeholders:
                chunks = tuple(ChunkRef(next(numbers), file_slice.size) for file_slice in reader.fewest_slices())
                contents[key] = Content(reader.size, next(numbers), chunks)
            else:
                contents[key] = Content(reader.size, reader.blob, tuple(reader.chunks))
        plain_files = ((file.path, contents[key_of(file)]) for file in self._gathered.plain_files)
        return (
            tuple(_repo(repo, contents) for repo in self._gathered.repos),
            tuple(PlainFile(path, content.size, content.chunks) for path, content in plain_files),
        )


def _repo(repo: LocalRepo, by_key: dict[FileKey, Content]) -> Repo:
    contents = ((file.path, by_key[key_of(file)]) for file in repo.files)
    files = [RepoFile(path, content.size, content.blob, content.chunks) for path, content in contents]
    return Repo(repo.repo_id, repo.repo_type, repo.commit or content_commit(files), repo.refs, tuple(files))


def content_commit(files: Iterable[RepoFile]) -> str:
    """Return the commit id of a folder: 40 hex digits that change when and only when the folder's content does.

    Args:
        files: the folder's, in the order of their paths.
    """
    listing = "".join(f"{file.blob} {file.path}\n" for file in files)
    return hex_of(listing.encode())[:40]


def key_of(file: SnapshotFile) -> FileKey:
    """Return the key of a gathered file."""
    return str(file.real), file.blob
