"""Lock files: a manifest's exact bytes, to commit to a repository or to bake into an image.

FILE.b3 beside a lock file FILE holds the digest of its bytes, as b3sum writes it. Without FILE.b3, the name of FILE may
contain the digest. A restore from a lock file gives the locked bytes, no matter who can write to the bucket: it reads
only chunks from the store, and each chunk is named by its content.

FILE.minisig beside it, where it is there, is a signature of FILE's bytes, which `minisign -Vm FILE` checks, too: it
tells who made the lock file.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from cas import events, refs
from cas.errors import (
    CacheError,
    FormatError,
    InputError,
    IntegrityError,
    ManifestCorrupt,
    SignatureError,
    UntrustedKey,
)
from cas.formats import manifest
from cas.formats.digest import hex_of, named
from cas.formats.printable import printable
from cas.local.fs import FileTooLarge, NotAFile, read_bounded
from cas.local.whole_file import write_whole
from cas.refs.reference import Reference, Resolved
from cas.store.layout import manifest_key
from cas.store.store import Store, open_store

SUFFIX = ".b3"
"""The ending of the name of the file that holds the digest."""

SIGNATURE = ".minisig"
"""The ending of the name of the file that holds the signature, as minisign looks for it."""

_NAMED = re.compile(r"(?:.*@)?([0-9a-f]{64})\.json")
_LINE = re.compile(r"([0-9a-f]{64}) [ *][^\r\n]+\r?\n?")
_ADVICE = "choose another with -o"
_UNFIT = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True, slots=True)
class Locked:
    """A lock file that was written.

    Attributes:
        reference: names the locked version for ever.
        lock: path of the lock file.
        digest_file: path of the file beside it that holds its digest.
        signature_file: path of the file beside it that holds its signature; None where nothing signs.
        key_id: of the key that signed it, 16 upper-case hex digits; None likewise.
    """

    reference: str
    lock: Path
    digest_file: Path
    signature_file: Path | None = None
    key_id: str | None = None


def write_lock(
    reference: str, store: Store | str | None, path: str | Path, listen: events.Listener = events.ignore
) -> Locked:
    """Write the manifest that a reference names now to a lock file, byte by byte as stored, and its digest beside it.

    A store with a signer gets a signature beside it, too.

    Args:
        reference: names the version to lock.
        store: an open store, its URL, or None for the default.
        path: the lock file.
        listen: is told what the reference was taken for.

    Raises:
        InputError: a digest file cannot hold the lock file's name.
        CacheError: a file cannot be written.
        SignatureError: the store has a signer whom nobody here would trust.
        CasError: what `cas.refs.resolve` raises.
    """
    file = Path(path)
    if not file.name or _UNFIT.search(file.name):
        raise InputError(f"lock file {str(path)!a}: name a file, without control characters and backslashes")
    store = open_store(store)
    resolved = refs.resolve(store, reference, listen=listen)

    def read(data: bytes) -> bytes:
        if (got := hex_of(data)) != resolved.digest:
            raise ManifestCorrupt(named(resolved.digest), named(got), store.url)
        return data

    key = manifest_key(resolved.manifest.model, resolved.digest)
    beside = _beside(file)
    data = store.get_document(key, manifest.MAX_MANIFEST, read)
    signature = None
    if signer := store.signer:
        from cas.refs.signatures import refuse_foreign_signer

        refuse_foreign_signer(store)
        signature = signer.sign(data, f"lock file {printable(file.name)}: {resolved.exact}")
    signed = _beside(file, SIGNATURE)
    # A reader that comes between the writes finds files that do not match, and refuses them.
    if signature is None and os.path.lexists(signed) and _read(file, manifest.MAX_MANIFEST) != data:
        _remove(signed)
    write_whole(file, data, _ADVICE)
    write_whole(beside, f"{resolved.digest}  {file.name}\n".encode(errors="surrogateescape"), _ADVICE)
    if signer is None or signature is None:
        return Locked(resolved.exact, file, beside)
    write_whole(signed, signature.encode(), _ADVICE)
    return Locked(resolved.exact, file, beside, signed, signer.public.id)


def read_lock(path: str | Path) -> Resolved:
    """Return the version that a lock file holds. No store is read.

    A lock file needs no signature. One that has a signature must be signed by a trusted key, where keys are trusted.

    Raises:
        SignatureError: keys are trusted, and the signature beside it is by none of them, or of another file.
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
    _check_signature(file, data)
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


def _check_signature(file: Path, data: bytes) -> None:
    signed = _beside(file, SIGNATURE)
    if not os.path.lexists(signed):
        return
    from cas.formats.minisign import verify
    from cas.formats.minisign_lines import MAX_TEXT
    from cas.local.trusted_keys import configured_trust

    trust = configured_trust()
    signature = _read(signed, MAX_TEXT)
    if trust is None or signature is None:
        return
    try:
        verify(data, signature, trust.keys)
    except UntrustedKey as error:
        raise SignatureError(
            f"lock file {file} is signed by key {error.key_id}, which is not trusted here: take a lock file that is "
            "signed by a key in `cas trust ls`, or trust this one with `cas trust add`"
        ) from None
    except (SignatureError, FormatError) as error:
        raise SignatureError(
            f"lock file {file} is not what {signed.name} signs ({error}): take both from where they came from, or "
            "write them again with `cas lock --sign-with`"
        ) from None


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise CacheError(
            f"{file} signs another lock file, and cannot be removed ({error.strerror}): {_ADVICE}"
        ) from error


def _beside(file: Path, suffix: str = SUFFIX) -> Path:
    return file.with_name(file.name + suffix)


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
