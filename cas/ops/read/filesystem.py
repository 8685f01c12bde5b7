"""The file system `cas://model:tag/path` of fsspec, through which pandas, datasets and torch read from a store.

A path is a reference and, behind it, a path in the version's tree (cas/formats/version_tree.py):
`m:latest/config.json`, `m@1f3a9c04/config.json`, `pin:eu-prod/m/config.json`. What a reference names is looked up once
and then stays, in the processes to which the file system is pickled, too: so all parts of one job read the same version
while a tag moves. `invalidate_cache` looks anew.

Only this module imports fsspec, which the extra `fsspec` installs and whose entry point `fsspec.specs` names it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from fsspec.spec import AbstractFileSystem

from cas.errors import InputError
from cas.formats.digest import hex_of
from cas.formats.manifest import RepoFile
from cas.formats.version_tree import File
from cas.host import Limits
from cas.ops.read.opened_file import StoredFileReader
from cas.ops.read.shared_store import store_by_url
from cas.ops.read.version import FileMissing, IsFolder, Version
from cas.parallel import for_each
from cas.refs import reflog

Info = dict[str, Any]


class ReadOnly(InputError, PermissionError):
    """Something would write to `cas://`; for callers who look for Python's error, too."""


class CasFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The versions in a store as folders, read only; made by fsspec when a path begins with `cas://`.

    Args:
        store: the store's URL, None for the default: `storage_options={"store": "s3://bucket/cas"}`.
    """

    protocol = "cas"

    def __init__(self, store: str | os.PathLike[str] | None = None, **options: object) -> None:
        super().__init__(**options)
        if store is not None and not isinstance(store, str | os.PathLike):
            raise InputError("the option `store` of cas:// is a URL, which other processes can open, too")
        self._shared = store_by_url(None if store is None else os.fspath(store))

    def __reduce__(self) -> tuple[Callable[..., CasFileSystem], tuple[object, ...]]:
        options = {**self.storage_options, "store": self._shared.url}
        return _made_again, (type(self), options, self._shared.exact_references())

    def invalidate_cache(self, path: str | None = None) -> None:
        """Look up anew what references name, from now on, in all file systems of this store in this process."""
        self._shared.forget_versions()
        super().invalidate_cache(path)

    def ls(self, path: str, detail: bool = True, **_: object) -> list[Any]:
        """Return what is in a folder: its name, size and type each, or the names only.

        The root has the store's tags and a folder for each deployment with pins.
        """
        path = self._strip_protocol(path)
        reference, inner = _split(path)
        if reference:
            version = self._shared.version(reference)
            found = [_info(path, version.file(inner))] if inner in version.tree else _entries(path, inner, version)
            if not found and inner not in version.folders:
                found = [_info(path, version.file(inner))]  # a path without its repo, or an error
        else:
            found = self._names(inner)
        return found if detail else [entry["name"] for entry in found]

    def info(self, path: str, **_: object) -> Info:
        """Return name, size and type of a file or folder; of a file, the digest of its content, too, as `ETag`."""
        path = self._strip_protocol(path)
        reference, inner = _split(path)
        if not reference:
            self._names(inner)
            return _folder(path)
        version = self._shared.version(reference)
        return _folder(path) if inner in version.folders else _info(path, version.file(inner))

    def exists(self, path: str, **_: object) -> bool:
        """Return whether there is a file or folder; False only when the store said that there is none."""
        return self._type(path) is not None

    def isfile(self, path: str) -> bool:
        """Return whether there is a file."""
        return self._type(path) == "file"

    def isdir(self, path: str) -> bool:
        """Return whether there is a folder."""
        return self._type(path) == "directory"

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: object) -> bytes:
        """Return the bytes of a file from `start` up to `end`, which count from the end when negative."""
        with self._open(self._strip_protocol(path)) as file:
            begin, stop, _step = slice(start, end).indices(file.size)
            file.seek(begin)
            return file.read(max(0, stop - begin))

    def cat_ranges(
        self,
        paths: list[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        on_error: str = "return",
        **_: object,
    ) -> list[Any]:
        """Return ranges of files, several fetched at once, and each chunk once.

        Args:
            paths: of the file of each range.
            starts: first byte of each range, or of all.
            ends: the byte behind each range, or behind all.
            max_gap: not used: ranges that share a chunk are fetched together in any case.
            on_error: `return` puts an error in the place of its range; `raise` raises it.
        """
        count = len(paths)
        starts = starts if isinstance(starts, list) else [starts] * count
        ends = ends if isinstance(ends, list) else [ends] * count
        if len(starts) != count or len(ends) != count:
            raise ValueError(f"{count} paths need as many starts and ends, not {len(starts)} and {len(ends)}")
        results: list[Any] = [None] * count

        def read(number: int) -> None:
            try:
                results[number] = self.cat_file(paths[number], starts[number], ends[number])
            except Exception as error:
                if on_error != "return":
                    raise
                results[number] = error

        order = sorted(range(count), key=lambda number: (paths[number], starts[number] or 0))
        for_each(read, order, threads=max(1, min(Limits().requests, count)))
        return results

    def _open(self, path: str, mode: str = "rb", **_: object) -> StoredFileReader:
        if mode != "rb":
            self._refuse(f"open {path} in mode {mode!r}")
        reference, inner = _split(path)
        if not reference:
            raise IsFolder(f"cas://{path} is a folder: name a file, as in cas://model:tag/path")
        version = self._shared.version(reference)
        return StoredFileReader(self._shared, version.exact, inner, version.file(inner))

    def _names(self, folder: str) -> list[Info]:
        """What is in a folder above the versions: the root, or `pin:DEPLOYMENT`."""
        store, deployment = self._shared.store, folder.removeprefix("pin:")
        store.check_format()  # else a place without a store would be an empty folder
        if not folder:
            tags = {f"{ref.first}:{ref.second}" for ref in reflog.current(store, "tags", "")}
            pins = {f"pin:{ref.first}" for ref in reflog.current(store, "pins", "")}
            return [_folder(name) for name in sorted(tags) + sorted(pins)]
        if not folder.startswith("pin:"):
            raise FileMissing(f"cas:///{folder}: no path begins with a slash: write cas://{folder}")
        models = sorted(ref.second for ref in reflog.current(store, "pins", deployment) if deployment)
        if not models:
            raise FileMissing(f"{store.url} has no pins of {deployment or 'no name'}: see `cas pins`")
        return [_folder(f"{folder}/{model}") for model in models]

    def _type(self, path: str) -> str | None:
        try:
            return str(self.info(path)["type"])
        except FileNotFoundError:
            return None

    def _refuse(self, what: str) -> NoReturn:
        raise ReadOnly(f"cannot {what}: cas:// is read only; `cas publish` makes a new version")

    def mkdir(self, path: str, create_parents: bool = True, **_: object) -> None:
        """Refuse: the file system is read only."""
        self._refuse(f"make {path}")

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Refuse: the file system is read only."""
        self._refuse(f"make {path}")

    def rmdir(self, path: str) -> None:
        """Refuse: the file system is read only."""
        self._refuse(f"remove {path}")

    def _rm(self, path: str) -> None:
        self._refuse(f"remove {path}")

    def cp_file(self, path1: str, path2: str, **_: object) -> None:
        """Refuse: the file system is read only."""
        self._refuse(f"copy to {path2}")


def _made_again(cls: type[CasFileSystem], options: Mapping[str, Any], exact: Mapping[str, str]) -> CasFileSystem:
    """The file system in another process, where references name what they named in the first."""
    made = cls(**options)
    made._shared.fix_versions(exact)
    return made


def _split(path: str) -> tuple[str, str]:
    """The reference that a path begins with and the path in its version; no reference for folders above versions."""
    if not path.startswith("pin:"):
        reference, _, inner = path.partition("/")
        return reference, inner
    deployment, _, rest = path.partition("/")
    model, _, inner = rest.partition("/")
    return (f"{deployment}/{model}", inner) if model else ("", deployment)


def _entries(path: str, inner: str, version: Version) -> list[Info]:
    """The files and folders directly in a folder of a version."""
    before = f"{inner}/" if inner else ""
    files = [
        _info(f"{path}/{name[len(before) :]}", file)
        for name, file in version.tree.items()
        if name.startswith(before) and "/" not in name[len(before) :]
    ]
    folders = sorted(
        name for name in version.folders if name.startswith(before) and name and "/" not in name[len(before) :]
    )
    return [_folder(f"{path}/{name[len(before) :]}") for name in folders if name != inner] + files


def _folder(name: str) -> Info:
    return {"name": name, "size": 0, "type": "directory"}


def _info(name: str, file: File) -> Info:
    content = file.blob if isinstance(file, RepoFile) else hex_of("".join(c.digest for c in file.chunks).encode())
    return {"name": name, "size": file.size, "type": "file", "ETag": content}
