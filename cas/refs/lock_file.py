"""Lock files: a manifest's exact bytes, to commit or to bake into an image.

Beside FILE lies FILE.b3 with the digest of its bytes, as b3sum writes it; instead, FILE may be named after it. What is
restored by a lock file is what was locked, whoever may write to the bucket: only chunks are asked of the store, and
each is named by its content.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from cas import refs
from cas.errors import CacheError, FormatError, InputError, IntegrityError, ManifestCorrupt
from cas.formats import manifest
from cas.formats.digest import hex_of, named
from cas.local.fs import is_file, open_for_reading, read_at, sync, write_all
from cas.refs.reference import Reference, Resolved
from cas.store.layout import manifest_key
from cas.store.store import Store, open_store

SUFFIX = ".b3"
"""What the name of the file with the digest ends in."""

_NAMED = re.compile(r"(?:.*@)?([0-9a-f]{64})\.json")
_LINE = re.compile(r"([0-9a-f]{64}) [ *][^\r\n]+\r?\n?")
_UNFIT = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True, slots=True)
class Locked:
    """What was locked. reference: names the version for ever. lock, digest_file: the two files."""

    reference: str
    lock: str
    digest_file: str


def write_lock(reference: str, store: Store | str | None, path: str | Path) -> Locked:
    """Writes the manifest that `reference` names now to `path`, as stored, and its digest beside it.

    store: an open one, a URL, or None for the default. Raises what resolving raises, InputError for a name that a
    digest file cannot hold, CacheError when the files cannot be written.
    """
    file = Path(path)
    if not file.name or _UNFIT.search(file.name):
        raise InputError(f"lock file {str(path)!a}: name a file, without control characters and backslashes")
    held = open_store(store)
    resolved = refs.resolve(held, reference)

    def read(data: bytes) -> bytes:
        if (got := hex_of(data)) != resolved.digest:
            raise ManifestCorrupt(named(resolved.digest), named(got), held.url)
        return data

    key = manifest_key(resolved.manifest.model, resolved.digest)
    beside = _beside(file)
    # Between the two a reader finds a pair that does not match, and refuses it.
    _write(file, held.get_document(key, manifest.MAX_MANIFEST, read))
    _write(beside, f"{resolved.digest}  {file.name}\n".encode())
    return Locked(resolved.exact, str(file), str(beside))


def read_lock(path: str | Path) -> Resolved:
    """The version that a lock file holds, without asking any store.

    Raises InputError when the file or its digest is missing, IntegrityError when they do not match, FormatError for a
    digest file or a manifest that is malformed, hostile or newer, CacheError for a file that cannot be read.
    """
    file = Path(path)
    data = _read(file, manifest.MAX_MANIFEST)
    if data is None:
        raise InputError(f"lock file {file} does not exist: write it with `cas lock REF -o {file}`")
    got = hex_of(data)
    for want, where in _expected(file):
        if got != want:
            raise IntegrityError(
                f"lock file {file} was changed: its digest is {named(got)}, {where} says {named(want)}. Take it from "
                f"where it came from, or write it again with `cas lock`. If git or an editor changed its line endings, "
                f"put `{file.name} -text` into .gitattributes"
            )
    try:
        found = manifest.parse(data)
    except FormatError as error:
        raise FormatError(f"lock file {file}: {error}") from None
    return Resolved(Reference(found.model, digest=got), got, found)


def _expected(file: Path) -> list[tuple[str, str]]:
    """Every digest (64 hex) that the file should have, and where it is written."""
    found = []
    if match := _NAMED.fullmatch(file.name):
        found.append((match[1], "its name"))
    beside = _beside(file)
    line = _read(beside, 4096)
    if line is not None:
        match = _LINE.fullmatch(line.decode(errors="replace"))
        if match is None:
            raise FormatError(f"{beside} is not one line with a digest and a name: write it again with `cas lock`")
        found.append((match[1], beside.name))
    if not found:
        raise InputError(
            f"nothing says what {file} should be: put {beside.name} beside it (`cas lock` writes both), or name it "
            "<model>@<64 hex>.json after its BLAKE3 digest"
        )
    return found


def _beside(file: Path) -> Path:
    return file.with_name(file.name + SUFFIX)


def _read(file: Path, limit: int) -> bytes | None:
    """The bytes of a file; None only when the system said that there is none."""
    try:
        with open_for_reading(file) as fd:
            found = os.fstat(fd)
            if not is_file(found):
                raise InputError(f"{file} is not a file: name one that `cas lock` wrote")
            data = bytearray(min(found.st_size, limit) + 1)
            size = read_at(fd, memoryview(data), 0)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CacheError(f"{file} cannot be read ({error.strerror}): check its path, owner and mode") from error
    if size > limit:
        raise FormatError(f"{file} is over the limit of {limit} bytes: `cas lock` did not write it")
    return bytes(data[:size])


def _write(file: Path, data: bytes) -> None:
    """Writes a file that appears whole."""
    private = file.with_name(f".{os.urandom(8).hex()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            fd = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            try:
                write_all(fd, data)
                sync(fd)
            finally:
                os.close(fd)
            private.replace(file)
        finally:
            private.unlink(missing_ok=True)
    except OSError as error:
        raise CacheError(f"{file} cannot be written ({error.strerror}): choose another with -o") from error
