"""What a cache directory records of the last version that was restored into it, for a boot that no store answers.

    .cas-worker/<model>.json                        the version, as a lock file
                <kind>/<first>/<second>.json        the version that this ref named last
                <kind>/<first>/<second>.json.signed which signed entry named it

Where keys are trusted, a ref's record counts only with the third file: the entry must have been signed by a key that is
trusted still, for this store, with a number that no floor forbids, and no newer one may have been seen here. So neither
a record from the time before keys were trusted nor one of a key that was withdrawn since says what runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

import cas
from cas.errors import CasError
from cas.events import SignedEntry
from cas.local.directory import Directory
from cas.local.fs import read_bounded
from worker.boot.directories import OWN
from worker.boot.environment import hub_of

if TYPE_CHECKING:
    from cas.local.trusted_keys import Trust
    from cas.refs.reference import Resolved
    from cas.store.store import Store

RefPath = tuple[str, str, str]
"""The path of a ref below `refs/` in a store: `tags`, model and tag, or `pins`, deployment and model."""

_SIGNED = ".signed"
_LONGEST = 4096  # bytes


class _Signed(msgspec.Struct, frozen=True):
    digest: str
    entry: SignedEntry
    pin: int = 0  # number of the newest entry of the deployment's pin then, a removal, where the tag latest was named


# Made here, in one thread: msgspec crashes when two threads decode a type for the first time at once.
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Signed).decode


def last_version(directory: Path, model: str, ref: RefPath | None = None) -> Resolved | None:
    """Return the last version of a model that `directory` was given; None when nothing readable says so.

    Args:
        directory: a cache directory.
        model: name of the model.
        ref: count only versions that this ref named then; None counts every version.
    """
    try:
        found = cas.read_lock(_file(directory, model, ref))
    except CasError:
        return None
    return found if found.manifest.model == model else None


def write_last_version(
    directory: Path,
    version: Resolved,
    store: Store,
    ref: RefPath | None = None,
    signed: SignedEntry | None = None,
) -> None:
    """Write into `directory` that this version was restored there last, and that a ref named it.

    Two requests to the store for each of both, and none where that is written already.

    Args:
        directory: a cache directory.
        version: what was restored.
        store: a store that has the version.
        ref: the ref that named the version; None for a version that no ref named.
        signed: the entry that named it, whose signature was verified; None where no keys are trusted.

    Raises:
        CasError: a file cannot be written, or the store cannot be read.
    """
    model = version.manifest.model
    for of in dict.fromkeys((None, ref)):
        last = last_version(directory, model, of)
        if last is None or last.digest != version.digest:
            cas.write_lock(version.exact, store, _file(directory, model, of))
    if ref and signed:
        pin = _newest_seen(directory, signed.store, ref_text(ref)) if signed.ref != ref_text(ref) else 0
        wanted = _Signed(version.digest, signed, pin)
        if _signed(directory, model, ref) != wanted:
            with Directory.open(directory, (OWN, *ref[:2])) as folder:
                folder.write(f"{ref[2]}.json{_SIGNED}", _encode(wanted), folder)


def signed_version(
    directory: Path, model: str, ref: RefPath, trust: Trust, store_name: str, directories: Sequence[Path] = ()
) -> tuple[Resolved, SignedEntry] | None:
    """Return the last version that a ref named here by a signed entry, and that entry; None when none counts.

    Args:
        directory: a cache directory.
        model: name of the model.
        ref: the ref.
        trust: the keys that count now, and the floors.
        store_name: of the store whose refs count.
        directories: all cache directories: nothing older than any of them has seen counts.
    """
    version, signed = last_version(directory, model, ref), _signed(directory, model, ref)
    if version is None or signed is None or signed.digest != version.digest:
        return None
    entry = signed.entry
    if entry.store != store_name or entry.key not in trust.keys or entry.number < trust.floors.get(entry.ref, 0):
        return None
    if any(entry.number < _newest_seen(each, store_name, entry.ref) for each in directories):
        return None
    # A deployment without a pin runs the tag latest: a floor of its pin, or an entry seen since, says that it has one.
    if entry.ref != ref_text(ref) and (
        trust.floors.get(ref_text(ref), 0)
        or any(signed.pin < _newest_seen(each, store_name, ref_text(ref)) for each in directories)
    ):
        return None
    return version, entry


def ref_text(ref: RefPath) -> str:
    """Return a ref as a reference names it: `model:tag` or `pin:deployment/model`."""
    kind, first, second = ref
    return f"{first}:{second}" if kind == "tags" else f"pin:{first}/{second}"


def _newest_seen(directory: Path, store: str, ref: str) -> int:
    """Return the number of the newest entry of a ref that a cache directory has seen; 0 for none.

    Args:
        directory: the cache directory.
        store: the name of the store.
        ref: the tag or pin in words.
    """
    from cas.local.seen_entries import read_seen

    seen = read_seen(hub_of(directory), store, ref)
    return seen.order[0] if seen else 0


def _signed(directory: Path, model: str, ref: RefPath) -> _Signed | None:
    file = _file(directory, model, ref)
    with contextlib.suppress(OSError, msgspec.MsgspecError, ValueError, CasError):
        return _decode(read_bounded(file.with_name(file.name + _SIGNED), _LONGEST))
    return None


def _file(directory: Path, model: str, ref: RefPath | None) -> Path:
    return directory.joinpath(OWN, *ref[:2], f"{ref[2]}.json") if ref else directory / OWN / f"{model}.json"
