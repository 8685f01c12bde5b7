"""Compares two versions: which repos, files and tensors differ, and what the step from one to the other downloads.

The order of `compare`:

1. resolve both references and read both manifests;
2. pair the repos and files by name, and see from chunk lists which files differ (`diff_files`), which reads nothing;
3. for each safetensors file that changed, read both headers and compare its tensors by their chunks (`diff_tensors`);
4. fetch the chunks in which tensors remain uncertain. This comes after all files were looked at, so that a chunk that
   several tensors or files need is fetched once;
5. ask the store for the sizes of the chunks that only the second version has: what a restore would download.
"""

from __future__ import annotations

from dataclasses import dataclass

from cas import events, host, refs
from cas.errors import FormatError
from cas.formats.digest import short
from cas.formats.manifest import Derived, Manifest, Manifest1, PlainFile, RepoFile, timestamp
from cas.ops.inspect.diff_files import FilePair, RepoPair, pair
from cas.ops.inspect.diff_tensors import TensorComparison, TensorDifferences
from cas.refs.reference import Resolved
from cas.store.layout import VersionId
from cas.store.lookup import stored_sizes
from cas.store.store import Store, open_store

_TENSOR_FILE = ".safetensors"


@dataclass(frozen=True, slots=True)
class ComparedFile:
    """A file that differs.

    Attributes:
        pair: the file in both versions.
        tensors: which of its tensors differ; None when its tensors are not compared.
        note: why they are not compared, or another remark; mostly empty.
    """

    pair: FilePair
    tensors: TensorDifferences | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class ComparedRepo:
    """A repo, or the files below HF_HOME.

    Attributes:
        pair: the repo in both versions.
        files: the files that differ.
    """

    pair: RepoPair
    files: tuple[ComparedFile, ...]


@dataclass(frozen=True, slots=True)
class Download:
    """What a restore of version B fetches on a machine that has version A.

    Attributes:
        chunks: how many chunks.
        plain: their plain bytes.
        stored: the bytes of their frames in the store.
        missing: how many of the chunks the store does not hold.
    """

    chunks: int
    plain: int
    stored: int
    missing: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs from version A to version B.

    Attributes:
        a: version A.
        b: version B.
        repos: all repos of both, and the files below HF_HOME last.
        other: fields of the manifests that differ besides files: `derived`, `annotations`.
        download: what a restore of B fetches where A is.
        created: when A was made, and B; where the manifest does not tell, when the store got that.
    """

    a: Resolved
    b: Resolved
    repos: tuple[ComparedRepo, ...]
    other: tuple[str, ...]
    download: Download
    created: tuple[str, str]

    def __repr__(self) -> str:
        what = "the same" if self.same else f"{self.download.plain:,} bytes to download"
        return f"<Comparison {short(self.a.exact)} -> {short(self.b.exact)}: {what}>"

    @property
    def same(self) -> bool:
        """Whether both versions have the same content."""
        return not self.other and all(repo.pair.change is None for repo in self.repos)


def compare(
    a: str,
    b: str,
    store: Store | str | None = None,
    *,
    limits: host.Limits | None = None,
    on_event: events.Listener = events.log,
) -> Comparison:
    """Compare two versions, which may be of different models.

    Files are compared by their chunks, and safetensors files also by their tensors. That comparison is exact: a chunk
    that differs and that tensors share is fetched. A safetensors file whose header is damaged is compared as a file.

    Args:
        a: a reference to version A.
        b: a reference to version B.
        store: an open store, its URL, or None for the default.
        limits: how much memory and how many requests to use.
        on_event: is told of phases and of bytes that were fetched.

    Raises:
        InputError: `a` or `b` is no reference.
        NotFoundError: a version is not in the store; ChunkMissing when a chunk that must be read is lost.
        IntegrityError: a manifest, or a chunk that must be read, is damaged.
        StoreError: the store cannot be read.
    """
    store = open_store(store)
    limits = limits or host.Limits()
    before = refs.resolve(store, a, listen=on_event)
    after = refs.resolve(store, b, listen=on_event)
    pairs = pair(before.manifest, after.manifest)
    files = _compared(store, [file for repo in pairs for file in repo.files], limits, on_event)
    repos = []
    for repo in pairs:
        repos.append(ComparedRepo(repo, tuple(files[: len(repo.files)])))
        files = files[len(repo.files) :]
    is_other = {
        "derived": _origin(before.manifest.derived) != _origin(after.manifest.derived),
        "annotations": before.manifest.annotations != after.manifest.annotations,
    }
    other = tuple(name for name, differs in is_other.items() if differs)
    download = _download(store, before.manifest, after.manifest, limits)
    return Comparison(before, after, tuple(repos), other, download, (_created(store, before), _created(store, after)))


def _origin(derived: Derived | None) -> tuple[str, str] | None:
    """What a variant was made of, and how. Version 1 has the program's words for it besides, which are no content."""
    return (derived.parent, derived.transform) if derived else None


def _created(store: Store, found: Resolved) -> str:
    if isinstance(found.manifest, Manifest1):
        return found.manifest.created
    return timestamp(store.stored_at(VersionId(found.manifest.model, found.digest)))


def _compared(store: Store, pairs: list[FilePair], limits: host.Limits, listen: events.Listener) -> list[ComparedFile]:
    comparison = TensorComparison(store, limits)
    notes: dict[int, str] = {}
    by_tensor = set()
    for number, files in enumerate(pairs):
        before, after = files.before, files.after
        if files.change != "changed" or before is None or after is None:
            continue
        if _blob(before.file) and _blob(before.file) == _blob(after.file):
            notes[number] = "the same blob, in other chunks"
        if after.file.path.endswith(_TENSOR_FILE):
            try:
                comparison.add(number, before.file.chunks, after.file.chunks)
                by_tensor.add(number)
            except FormatError as error:
                notes[number] = f"not compared by tensor: {error}"
    comparison.run(listen)
    return [
        ComparedFile(files, comparison.result(number) if number in by_tensor else None, notes.get(number, ""))
        for number, files in enumerate(pairs)
    ]


def _blob(file: RepoFile | PlainFile) -> str | None:
    return file.blob if isinstance(file, RepoFile) else None


def _download(store: Store, before: Manifest, after: Manifest, limits: host.Limits) -> Download:
    here = before.chunks()
    wanted = {digest: size for digest, size in after.chunks().items() if digest not in here}
    stored = stored_sizes(store, wanted, limits)
    return Download(len(wanted), sum(wanted.values()), sum(stored.values()), len(wanted) - len(stored))
