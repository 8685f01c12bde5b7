"""A store that lost its refs, or everything: a repair source that is a store tells what they named.

    open      make the store anew where format.json is gone, too, and nothing foreign lies in its place
    lender    the first repair source that is a store, if no tag and no pin is left here
    (check and repair, with the lender's refs in place of the lost ones)
    name      set each ref whose version is whole now, to what it names in the lender

Without any ref nothing says what a store held, and its collector would keep nothing. A store with a ref lost no more
than its damage shows, and takes no other versions from a source than it names itself.

A repair that was interrupted, or whose source lacked chunks, has set some refs and not the others. As long as the store
has no ref but such, the next repair sets the others whose versions have come back.

Where keys are trusted, one of them must have signed what a ref names in the lender, and one must sign here.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Sequence

from cas import events
from cas.errors import FormatError, SignatureError, StoreMissing, Unsupported
from cas.ops.fsck.damage import DamagedObject
from cas.ops.fsck.inventory import Inventory
from cas.ops.fsck.repair_sources import OtherStore, RepairSource
from cas.refs.move import move
from cas.refs.reflog import Ref, RefLog, logs
from cas.store.layout import MANIFESTS, VersionId, ref_folder
from cas.store.new_store import refuse_other_things
from cas.store.store import Store

_REASON = "fsck --repair-from"


def open_or_make(store: Store, sources: Sequence[RepairSource], listen: events.Listener) -> None:
    """Check that there is a store; make it anew where it is to be filled from another store.

    Raises:
        StoreMissing: there is none, and no source is a store; or other things lie in its place.
        FormatError: a newer version made it.
        SignatureError: refs would be set, keys are trusted, and none of them signs here. Nothing was written.
    """
    if store.trust is not None and _first_store(sources) and not any(store.bucket.pages(ref_folder())):
        from cas.refs.signatures import signer_of

        signer_of(store, ["the tags and pins that are lost"])
    try:
        store.check_format()
    except StoreMissing:
        if not any(isinstance(source, OtherStore) for source in sources):
            raise
        refuse_other_things(store, but_ours=True)
        store.create()
        listen(events.Warned(f"there was no store at {store.where}: made a new one"))


def find_lender(store: Store, sources: Sequence[RepairSource], listen: events.Listener) -> Store | None:
    """Return the store whose refs stand for those that this one lost; None if it has a ref, or no source is a store."""
    lender = _first_store(sources)
    if lender is None or any(store.bucket.pages(ref_folder())):
        return None
    try:
        any(lender.store.bucket.pages(ref_folder()))
    except Unsupported:  # a web server, which lists nothing, can repair a store of versions without names all the same
        if any(store.bucket.pages(MANIFESTS)):
            return None
    listen(
        events.Warned(
            f"{store.where} has no tag and no pin: what those of {lender.name} name is brought back, and named"
        )
    )
    return lender.store


def name_again(
    store: Store,
    sources: Sequence[RepairSource],
    scope: str | None,
    inventory: Inventory,
    lacking: Collection[str],
    listen: events.Listener,
) -> tuple[list[DamagedObject], list[str]]:
    """Set the lost refs; a ref whose version could not be made whole is left out, with a warning.

    Returns:
        The refs that were set; and why others were refused, as the source's signature of them does not count.

    Args:
        store: that was repaired.
        sources: of the repair; the first store among them tells what the refs named.
        scope: of the check, as `fsck` takes it.
        inventory: of the check, with the refs that the source lent.
        lacking: digests (64 hex) of the chunks that no source had.
        listen: is told of warnings.
    """
    named: list[DamagedObject] = []
    refused: list[str] = []
    whole: dict[VersionId, bool] = {}
    if (source := _first_store(sources)) is None:
        return named, refused
    lender = source.store
    for ref in inventory.lent or _left_unset(store, lender, scope):
        try:
            entry = RefLog(lender, ref).current()
        except FormatError as error:
            listen(events.Warned(f"{ref} is not set again: {error}"))
            continue
        except SignatureError as error:
            refused.append(str(error))
            listen(events.Warned(f"{ref} is not set again: {error}"))
            continue
        if entry is None or entry.digest is None:
            continue
        version = VersionId(ref.model, entry.digest)
        if version not in whole:
            whole[version] = inventory.is_whole(version, lacking)
        if not whole[version]:
            listen(events.Warned(f"{ref} is not set again, as {version} could not be made whole"))
            continue
        try:
            move(store, {ref: None}, entry.digest, _REASON, None, listen, created=entry.created)
        except SignatureError as error:  # what else was found and repaired is to be told all the same
            refused.append(str(error))
            listen(events.Warned(f"{ref} is not set again: {error}"))
            continue
        named.append(DamagedObject("missing", "ref", str(ref), str(version), ""))
    return named, refused


def _first_store(sources: Sequence[RepairSource]) -> OtherStore | None:
    return next((source for source in sources if isinstance(source, OtherStore)), None)


def _left_unset(store: Store, lender: Store, scope: str | None) -> list[Ref]:
    """The refs that an earlier repair left unset, and whose versions are here.

    There are none once something else than a repair has moved a ref, or where the scope is one version.
    """
    here = logs(store)
    if not here or not all(map(_is_of_repair, here)) or (scope and re.search("[:@]", scope)):
        return []
    known, versions = {log.ref for log in here}, store.list_manifests()
    try:
        absent = [log for log in logs(lender) if log.ref not in known and scope in (None, log.ref.model)]
    except Unsupported:  # a web server, which lists nothing
        return []
    found = []
    for log in absent:
        with contextlib.suppress(FormatError):
            try:
                digest = log.current_digest()
            except SignatureError:
                found.append(log.ref)  # so that it is told why it is not set
                continue
            if digest is not None and VersionId(log.ref.model, digest) in versions:
                found.append(log.ref)
    return found


def _is_of_repair(log: RefLog) -> bool:
    try:
        return all(moved.entry.reason == _REASON for moved in log.history())
    except (FormatError, SignatureError):
        return False
