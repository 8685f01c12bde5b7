"""Mirror: keep the tags and pins of models in another store equal to those of this one, with the versions they name.

    read      the current entry of each of the models' refs, in both stores
    compare   what names the same version already is complete there and costs nothing more
    copy      version by version, as `copy` does: chunks, manifest, and then the refs that name it; one that is damaged
              here is passed over, and is the mirror's error in the end: it must not keep the others out of a backup. So
              is a ref that, where keys are trusted, none of them signed
    remove    what was removed here is removed there, if all was copied; a ref that only the destination has is left,
              and told of

A mirror that runs every hour keeps what the refs named before, too: the destination has logs of its own, whose last
versions its collector retains.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping

from cas import events, host
from cas.errors import CasError, FormatError, IntegrityError, NotFoundError, SignatureError
from cas.ops.transfer.copier import Copying, open_pair
from cas.ops.transfer.receiver import Author
from cas.ops.transfer.result import Copied
from cas.ops.transfer.wanted import Wanted
from cas.parallel import for_each
from cas.refs import reflog
from cas.refs.entry import RefEntry
from cas.refs.patterns import model_matches
from cas.refs.reflog import Ref, RefLog
from cas.store.layout import VersionId
from cas.store.manifests import read_manifest, whole_manifest
from cas.store.store import Store


def mirror(
    prefixes: Iterable[str],
    destination: Store | str,
    store: Store | str | None = None,
    *,
    delete: bool = False,
    verify: bool = False,
    dry_run: bool = False,
    author: Author = Author(),  # noqa: B008 (immutable)
    limits: host.Limits | None = None,
    on_event: events.Listener = events.log,
) -> Copied:
    """Make the refs of some models in another store equal to those of this one.

    Args:
        prefixes: what the names of the models begin with, or patterns that they match; none for all models.
        destination: an open store or a URL; a store is made if nothing is there.
        store: where the models are: an open store, a URL, or None for the default.
        delete: remove refs of these models that only the destination has.
        verify: decode and hash every chunk on its way.
        dry_run: write nothing.
        author: who moves tags and pins there, and why.
        limits: requests and memory.
        on_event: is told of phases, of each chunk, and of warnings.

    Raises:
        NotFoundError: no ref of such a model was ever set here; or as for `copy`.
        CasError: as for `copy`. What is wrong with a version here is raised after the others were copied, and then
            nothing is removed.
    """
    begun = time.monotonic()
    source, target = open_pair(store, destination)
    limits, prefixes = limits or host.Limits(), tuple(prefixes)
    on_event(events.Phase("resolve"))
    refused: list[SignatureError] = []
    here = _entries(source, prefixes, limits, on_event, refused)
    if not here:
        models = f"model whose name begins with, or matches, {' or '.join(prefixes)}" if prefixes else "model"
        raise NotFoundError(f"{source.url} has no tag and no pin of a {models}: see `cas ls`")
    with Copying(source, target, author, limits, on_event, verify=verify, write=not dry_run) as copying:
        there = _entries(target, prefixes, limits, on_event) if copying.receiver.exists else {}
        damage: CasError | None = refused[0] if refused else None
        for version, names in _differing(here, there):
            try:
                copying.bring(Wanted(version, read_manifest(source, version, whole_manifest), names))
            except (NotFoundError, IntegrityError, FormatError) as error:
                on_event(events.Warned(f"{version} is not copied ({', '.join(map(str, names))})"))
                damage = damage or error
        if damage is not None:
            raise damage
        extra = [ref for ref, entry in there.items() if entry is not None and entry.digest and ref not in here]
        gone = [ref for ref, entry in here.items() if entry is not None and entry.digest is None]
        remove = [
            *(ref for ref in gone if (last := there.get(ref)) is not None and last.digest),
            *(extra if delete else ()),
        ]
        if delete and source.trust is not None:
            for ref in extra:
                RefLog(source, ref).last_move()  # raises for a ref with a floor, whose log was deleted here
        for ref in sorted(remove):
            copying.begin()
            copying.receiver.move(ref, None, here.get(ref))
        copying.receiver.must_be_named()
        return copying.result(begun, extra=() if delete else sorted(extra))


def _entries(
    store: Store,
    prefixes: tuple[str, ...],
    limits: host.Limits,
    listen: events.Listener,
    refused: list[SignatureError] | None = None,
) -> dict[Ref, RefEntry | None]:
    """The last entry of each ref of the models; None, with a warning, for one that cannot be read.

    Where keys are trusted, one that no trusted key signed is None, too. In the source that is an error in the end:
    `refused` takes it. In the destination the ref is moved anew.
    """
    logs = reflog.logs(store)
    if prefixes:
        logs = [log for log in logs if any(model_matches(log.ref.model, prefix) for prefix in prefixes)]
    found: dict[Ref, RefEntry | None] = {}
    guard = threading.Lock()

    def read(log: RefLog) -> None:
        entry = None
        try:
            entry = log.current()
        except FormatError as error:
            listen(events.Warned(f"{log.ref} is left out: {error}"))
        except SignatureError as error:
            if refused is None:
                listen(events.Noted(f"{log.ref} in {store.url} counts as not set: {error}"))
            else:
                listen(events.Warned(f"{log.ref} is left out: {error}"))
                with guard:
                    refused.append(error)
        with guard:
            found[log.ref] = entry

    if logs:
        for_each(read, logs, threads=min(limits.requests, len(logs)))
    return dict(sorted(found.items()))


def _differing(
    here: Mapping[Ref, RefEntry | None], there: Mapping[Ref, RefEntry | None]
) -> list[tuple[VersionId, dict[Ref, RefEntry | None]]]:
    """The versions that refs name here and not there, with these refs; those first that were named first."""
    found: dict[VersionId, dict[Ref, RefEntry | None]] = {}
    for ref, entry in here.items():
        last = there.get(ref)
        if entry is not None and entry.digest and (last is None or last.digest != entry.digest):
            found.setdefault(VersionId(ref.model, entry.digest), {})[ref] = entry
    order = sorted(
        found, key=lambda version: (min(entry.created for entry in found[version].values() if entry), version)
    )
    return [(version, found[version]) for version in order]
