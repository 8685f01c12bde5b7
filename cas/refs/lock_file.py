"""Lock files: a manifest's exact bytes, to commit to a repository or to bake into an image.

FILE.b3 beside a lock file FILE holds the digest of its bytes, as b3sum writes it. Without FILE.b3, the name of FILE may
contain the digest. A restore from a lock file gives the locked bytes, no matter who can write to the bucket: it reads
only chunks from the store, and each chunk is named by its content.
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
from cas.local.fs import FileTooLarge, NotAFile, read_bounded, sync, write_all
from cas.refs.reference import Reference, Resolved
from cas.store.layout import manifest_key
from cas.store.store import Store, open_store

SUFFIX = ".b3"
"""The ending of the name of the file that holds the digest."""

_NAMED = re.compile(r"(?:.*@)?([0-9a-f]{64})\.json")
_LINE = re.compile(r"([0-9a-f]{64}) [ *][^\r\n]+\r?\n?")
_UNFIT = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True, slots=True)
class Locked:
    """A lock file that was written.

    Attributes:
        reference: names the locked version for ever.
        lock: path of the lock file.
        digest_file: path of the file beside it that holds its digest.
    """

    reference: str
    lock: str
    digest_file: str


def write_lock(reference: str, store: Store | str | None, path: str | Path) -> Locked:
    """Write the manifest that a reference names now to a lock file, byte by byte as stored, and its digest beside it.

    Args:
        reference: names the version to lock.
        store: an open store, its URL, or None for the default.
        path: the lock file.

    Raises:
        InputError: a digest file cannot hold the lock file's name.
        CacheError: a file cannot be written.
        CasError: what `cas.refs.resolve` raises.
    """
    file = Path(path)
    if not file.name or _UNFIT.search(file.name):
        raise InputError(f"lock file {str(path)!a}: name a file, without control characters and backslashes")
    store = open_store(store)
    resolved = refs.resolve(store, reference)

    def read(data: bytes) -> bytes:
        if (got := hex_of(data)) != resolved.digest:
            raise ManifestCorrupt(named(resolved.digest), named(got), store.url)
        return data

    key = manifest_key(resolved.manifest.model, resolved.digest)
    beside = _beside(file)
    # A reader that comes between the two writes finds a pair that does not match, and refuses it.
    _write(file, store.get_document(key, manifest.MAX_MANIFEST, read))
    _write(beside, f"{resolved.digest}  {file.name}\n".encode(errors="surrogateescape"))
    return Locked(resolved.exact, str(file), str(beside))


def read_lock(path: str | Path) -> Resolved:
    """Return the version that a lock file holds. No store is read.

    Raises:
        InputError: the lock file, or its digest, is missing.
        IntegrityError: lock file and digest do not match.
        FormatError: the digest file or the manifest is malformed, or the manifest is hostile or of a newer version.
        CacheError: a file cannot be read.
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
    """Each digest (64 hex) that the file must have, with where that digest is written."""
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
    """The bytes of a file; None only when the system reports that there is no such file."""
    try:
        return read_bounded(file, limit)
    except FileNotFoundError:
        return None
    except NotAFile:
        raise InputError(f"{file} is not a file: name one that `cas lock` wrote") from None
    except FileTooLarge:
        raise FormatError(f"{file} is over the limit of {limit} bytes: `cas lock` did not write it") from None
    except OSError as error:
        raise CacheError(f"{file} cannot be read ({error.strerror}): check its path, owner and mode") from error


def _write(file: Path, data: bytes) -> None:
    """Write a file under another name, and rename it: readers find all of it, or none."""
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
