"""Which safetensors files of a version are loaded, and what is in them.

In a folder with an index (`*.safetensors.index.json`, as transformers writes it beside the pieces of a large file) the
files that the index names are loaded, and no others but those that the caller names without a wildcard: a repo may hold
its weights once more in another layout. In any other folder, all are. Patterns that match only files that the index
does not name mean these; those that leave the index itself out mean the matched ones among the files that it names.
"""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from cas.errors import FormatError, InputError
from cas.formats import safetensors
from cas.formats.frame import Codec
from cas.formats.paths import match_patterns
from cas.formats.runs import MAX_HEADER
from cas.formats.safetensors import Header, Tensor
from cas.formats.typed_json import JsonFormat
from cas.formats.version_tree import File, names_in_tree
from cas.host import Limits
from cas.parallel import Pool, ReusableBuffer, for_each
from cas.store.store import Store
from cas.store.stored_file import ByteRange, StoredFile

_SUFFIX, _INDEX = ".safetensors", ".safetensors.index.json"


class TensorFile(NamedTuple):
    """A safetensors file of a version.

    Attributes:
        path: its path in the version's tree.
        stored: its bytes.
        header: its header.
        tensors: those of its tensors that are wanted.
    """

    path: str
    stored: StoredFile
    header: Header
    tensors: tuple[Tensor, ...]


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


_INDEXES = JsonFormat[_Index](_Index)


class FileChoice:
    """Chooses the files and tensors of one version."""

    def __init__(self, store: Store, exact: str, tree: Mapping[str, File], limits: Limits) -> None:
        """Read nothing yet.

        Args:
            store: where the version is.
            exact: names the version in errors.
            tree: its files by their paths.
            limits: bounds of requests and decoders.
        """
        self._store, self._exact, self._tree, self._limits = store, exact, tree, limits
        self._codecs = Pool(Codec, limits.workers)

    def choose(self, include: Sequence[str], names: Sequence[str]) -> list[TensorFile]:
        """Return the files to load, with their headers.

        Args:
            include: glob patterns of files; empty for all.
            names: glob patterns of tensors' names; empty for all.

        Raises:
            InputError: a pattern matches nothing, no file is a safetensors file, or two have a tensor of one name.
            FormatError: a header or an index is malformed, or an index names what is not there.
        """
        matched = self._matched(include)
        owed = self._owed(matched)
        by_index = {posixpath.dirname(path) for path in matched if path.endswith(_INDEX)}
        named = {path for path, names in names_in_tree(self._tree).items() if not names.isdisjoint(include)}
        besides = {path for path in matched if path in named or posixpath.dirname(path) not in by_index}
        besides -= self._in_another_layout(besides - named)
        paths = [path for path in self._tree if path in owed or (path in besides and path.endswith(_SUFFIX))]
        if not paths:
            raise InputError(
                f"{self._exact} has no safetensors file{' that include matches' if include else ''}, and load_tensors "
                "reads no others: restore it (`cas restore`), or read a file by cas.open_file"
            )
        headers: dict[str, tuple[StoredFile, Header]] = {}

        def read(path: str) -> None:
            headers[path] = self._read_header(path)

        for_each(read, paths, threads=min(self._limits.requests, len(paths)))
        for path, promised in owed.items():
            lacking = promised - {tensor.name for tensor in headers[path][1].tensors}
            if lacking:
                raise FormatError(f"{path} of {self._exact} lacks tensor {min(lacking)!a}, which the index puts there")
        files = [TensorFile(path, *headers[path], headers[path][1].tensors) for path in paths]
        return self._named(_without_doubles(files, self._exact) if not names else files, names)

    def _matched(self, include: Sequence[str]) -> set[str]:
        if not include:
            return set(self._tree)
        names = names_in_tree(self._tree)
        found, unmatched = match_patterns({name for of_file in names.values() for name in of_file}, include)
        if unmatched:
            raise InputError(f"include={unmatched[0]!r} matches no file of {self._exact}: `cas show` lists them")
        return {path for path, of_file in names.items() if not of_file.isdisjoint(found)}

    def _owed(self, matched: Iterable[str]) -> dict[str, set[str]]:
        """The tensors that each file must have by the indexes among the matched files."""
        indexes = [path for path in matched if path.endswith(_INDEX)]
        folders = [posixpath.dirname(path) for path in indexes]
        for index, folder in zip(indexes, folders, strict=True):
            if folders.count(folder) > 1:
                raise InputError(f"{self._exact} has several indexes beside {index}: choose one by include=")
        owed: dict[str, set[str]] = {}
        for index, folder in zip(indexes, folders, strict=True):
            for name, file in self._read_index(index).items():
                path = posixpath.join(folder, file)
                if path not in self._tree or not path.endswith(_SUFFIX):
                    raise FormatError(f"{index} of {self._exact} names {file[:200]!a}, which is no file of it")
                owed.setdefault(path, set()).add(name)
        return owed

    def _in_another_layout(self, chosen: set[str]) -> set[str]:
        """Those of some files whose folder's index names others of them, and not these."""
        indexes: dict[str, list[str]] = {}
        for path in self._tree:
            if path.endswith(_INDEX):
                indexes.setdefault(posixpath.dirname(path), []).append(path)
        others: set[str] = set()
        for folder, of_folder in indexes.items():
            beside = {path for path in chosen if path.endswith(_SUFFIX) and posixpath.dirname(path) == folder}
            if len(beside) < 2:
                continue
            with contextlib.suppress(FormatError):  # no pattern asks for an index that is malformed
                files = {file for index in of_folder for file in self._read_index(index).values()}
                named = beside & {posixpath.join(folder, file) for file in files}
                others |= beside - named if named else set()
        return others

    def _read_index(self, path: str) -> dict[str, str]:
        stored = self._stored(path)
        if stored.size > MAX_HEADER:
            raise FormatError(f"{path} of {self._exact} has {stored.size} bytes, where at most {MAX_HEADER} are read")
        text = memoryview(bytearray(stored.size))
        stored.read([ByteRange(0, stored.size, 0)], text, ReusableBuffer())
        try:
            return _INDEXES.decode(text).weight_map
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise FormatError(f"{path} of {self._exact} is no index of safetensors files: {error}") from None

    def _read_header(self, path: str) -> tuple[StoredFile, Header]:
        stored = self._stored(path)
        try:
            return stored, safetensors.parse(stored.safetensors_head(), stored.size)
        except FormatError as error:
            raise FormatError(f"{path} of {self._exact} is no sound safetensors file: {error}") from None

    def _stored(self, path: str) -> StoredFile:
        return StoredFile(self._store, self._tree[path].chunks, self._codecs)

    def _named(self, files: list[TensorFile], names: Sequence[str]) -> list[TensorFile]:
        if not names:
            return files
        found, unmatched = match_patterns((tensor.name for file in files for tensor in file.tensors), names)
        if unmatched:
            raise InputError(f"names={unmatched[0]!r} matches no tensor of the chosen files of {self._exact}")
        wanted = [
            file._replace(tensors=tuple(tensor for tensor in file.tensors if tensor.name in found)) for file in files
        ]
        return _without_doubles(wanted, self._exact)


def _without_doubles(files: list[TensorFile], exact: str) -> list[TensorFile]:
    """The files as they are, if no two have a tensor of one name."""
    owners: dict[str, str] = {}
    for file in files:
        for tensor in file.tensors:
            if (other := owners.setdefault(tensor.name, file.path)) != file.path:
                raise InputError(
                    f"tensor {tensor.name[:100]!a} is in {other} and in {file.path} of {exact}: choose files by "
                    "include="
                )
    return files
