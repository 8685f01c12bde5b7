"""Compares two versions: which repos, files and tensors differ, and what the step from one to the other costs."""

from __future__ import annotations

from dataclasses import dataclass

from cas import config, events, refs
from cas.errors import FormatError
from cas.formats.manifest import Manifest, PlainFile, RepoFile
from cas.ops.inspect.diff_files import FilePair, RepoPair, pair
from cas.ops.inspect.diff_tensors import TensorComparison, Tensors
from cas.refs.reference import Resolved
from cas.store.lookup import stored_sizes
from cas.store.store import Store, open_store

_TENSOR_FILE = ".safetensors"


@dataclass(frozen=True, slots=True)
class ComparedFile:
    """A file that differs. tensors: which of them do, None when it is not looked into.

    note: why it is not, or what else there is to say.
    """

    pair: FilePair
    tensors: Tensors | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class ComparedRepo:
    """A repo, or the files below HF_HOME. files: those that differ."""

    pair: RepoPair
    files: tuple[ComparedFile, ...]


@dataclass(frozen=True, slots=True)
class Download:
    """What a restore of B fetches where A is. plain, stored: bytes. missing: chunks that the store does not hold."""

    chunks: int
    plain: int
    stored: int
    missing: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs from A to B. other: fields of the manifests that differ besides files (`derived`, `annotations`)."""

    a: Resolved
    b: Resolved
    repos: tuple[ComparedRepo, ...]
    other: tuple[str, ...]
    download: Download

    @property
    def same(self) -> bool:
        """Whether both consist of the same."""
        return not self.other and all(repo.pair.change is None for repo in self.repos)


def compare(
    a: str,
    b: str,
    store: Store | str | None = None,
    *,
    limits: config.Limits | None = None,
    on_event: events.Listener = events.ignore,
) -> Comparison:
    """Compares the version that `a` names with the one that `b` names; they may be of different models.

    Files are told apart by their chunks, safetensors files by their tensors too, exactly: where tensors share a chunk
    that differs, it is fetched. A safetensors file whose header is damaged is compared as a file.

    Raises InputError, NotFoundError (ChunkMissing when a chunk that must be read is lost), IntegrityError, StoreError.
    """
    held = open_store(store)
    limits = limits or config.Limits()
    before = refs.resolve(held, a)
    after = refs.resolve(held, b)
    pairs = pair(before.manifest, after.manifest)
    files = _compared(held, [file for repo in pairs for file in repo.files], limits, on_event)
    repos = []
    for repo in pairs:
        repos.append(ComparedRepo(repo, tuple(files[: len(repo.files)])))
        files = files[len(repo.files) :]
    other = tuple(
        name for name in ("derived", "annotations") if getattr(before.manifest, name) != getattr(after.manifest, name)
    )
    return Comparison(before, after, tuple(repos), other, _download(held, before.manifest, after.manifest, limits))


def _compared(
    store: Store, pairs: list[FilePair], limits: config.Limits, listen: events.Listener
) -> list[ComparedFile]:
    comparison = TensorComparison(store, limits)
    notes: dict[int, str] = {}
    looked_into = set()
    for number, one in enumerate(pairs):
        if one.change != "changed" or one.before is None or one.after is None:
            continue
        if _blob(one.before.file) and _blob(one.before.file) == _blob(one.after.file):
            notes[number] = "the same blob, in other chunks"
        if one.after.file.path.endswith(_TENSOR_FILE):
            try:
                comparison.add(number, one.before.file.chunks, one.after.file.chunks)
                looked_into.add(number)
            except FormatError as error:
                notes[number] = f"not compared by tensor: {error}"
    comparison.run(listen)
    return [
        ComparedFile(one, comparison.result(number) if number in looked_into else None, notes.get(number, ""))
        for number, one in enumerate(pairs)
    ]


def _blob(file: RepoFile | PlainFile) -> str | None:
    return file.blob if isinstance(file, RepoFile) else None


def _download(store: Store, before: Manifest, after: Manifest, limits: config.Limits) -> Download:
    here = before.chunks()
    wanted = {digest: size for digest, size in after.chunks().items() if digest not in here}
    stored = stored_sizes(store, wanted, limits)
    return Download(len(wanted), sum(wanted.values()), sum(stored.values()), len(wanted) - len(stored))
