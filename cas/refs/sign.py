"""`cas sign`: sign the entry in force of tags and pins, and give past entries the signature of a new key.

Order of steps, for one ref:
    1. list its log; read the last entry, signed or not, and the signatures that lie beside it
    2. refuse an entry that is malformed, below the floor, not the one expected, or whose version the store lacks
    3. write the signature beside the entry, unless this key has signed it already

The bytes that are shown are the bytes that are signed: an entry that somebody appends meanwhile stays unsigned. A
rotation instead reads every entry that the log has, and signs those that a trusted key signed, never another: so a key
that is about to be withdrawn leaves behind nothing that only it vouches for, and an attacker's entry gains nothing.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from cas.errors import FormatError, InputError, ObjectMissing, SignatureError
from cas.formats.digest import hex_of
from cas.formats.minisign import PublicKey, SecretKey
from cas.parallel import for_each
from cas.refs.floors import BELOW, check_floor
from cas.refs.likely import absent
from cas.refs.log_reader import UNSET, Move, Ref, entry_name
from cas.refs.move import check_expected
from cas.refs.ref_named import ref_named
from cas.refs.reflog import RefLog, logs
from cas.refs.signatures import MAX_ENTRY, check_entry, read_signature, refuse_foreign_signer, sign_entry
from cas.store import layout
from cas.store.layout import RefEntryId, VersionId
from cas.store.store import Store

UNREADABLE = "unreadable"
"""The word of `SignedEntry.problem` for an entry that is malformed."""

_REQUESTS = 16


@dataclass(frozen=True, slots=True)
class SignedEntry:
    """An entry of a ref that was to be signed.

    Attributes:
        ref: the tag or pin.
        move: the move that the entry records.
        signers: the ids of the keys that had signed it; only keys that are known here, each verified.
        in_force: whether it is the last entry of its log.
        added: whether a signature was written, or would be with `dry_run`.
        problem: why it was left alone, in a word; empty where it is signed now.
    """

    ref: Ref
    move: Move
    signers: tuple[str, ...]
    in_force: bool
    added: bool
    problem: str = ""


def refs_named(store: Store, texts: Sequence[str]) -> list[Ref]:
    """Return the tags and pins that texts name, by their words alone.

    What is signed counts from then on: so what lies in the store has no say in which tag or pin that is.

    Raises:
        InputError: a text is no reference, or names a version by its digest.
    """
    what = "what is signed is a tag or pin that names it: add --tag TAG"
    return [ref_named(store, text, what, must_exist=False, as_written=True) for text in dict.fromkeys(texts)]


def all_refs(store: Store) -> list[Ref]:
    """Return every tag and pin of a store, removed ones too, as the entry that removed one is in force."""
    return [log.ref for log in logs(store, is_verified=False)]


def sign_refs(
    store: Store, refs: Sequence[Ref], *, expect: str | None = None, dry_run: bool = False
) -> list[SignedEntry]:
    """Sign the entries in force of some refs, whoever wrote them, and return them.

    Args:
        store: where the refs are; its signer signs.
        refs: the tags and pins.
        expect: the version that each must name, as for `check_expected`; None for any.
        dry_run: write nothing.

    Raises:
        InputError: there is no key to sign with.
        RefUnset: a ref was never set.
        ManifestMissing: a ref names a version that the store does not have.
        FormatError: an entry is malformed.
        RefMoved: a ref does not name the expected version.
        SignatureError: the key is not trusted here, or an entry is below its floor.
    """
    signer = None if dry_run and store.signer is None else signer_needed(store)
    store.check_format()
    found = []
    for ref in refs:
        log = RefLog(store, ref, is_verified=False)
        if not (names := log.names()):
            raise absent(store, ref)
        if store.trust is not None:
            check_floor(store, store.trust, str(ref), names[-1])
        found.append((log, _Entry(store, log, names[-1])))
    for log, entry in found:  # all are looked at before the first is signed
        digest = entry.move.entry.digest
        if expect is not None:
            check_expected(log.ref, digest, expect)
        if digest is not None:
            store.get_manifest(*VersionId(log.ref.model, digest))
    return [entry.sign(signer, in_force=True, dry_run=dry_run) for _, entry in found]


def rotate(store: Store, refs: Sequence[Ref], *, dry_run: bool = False) -> list[SignedEntry]:
    """Add the signer's signature to every entry of some refs that a trusted key signed; return all entries in force.

    An entry below the floor of its ref gets none.

    Args:
        store: where the refs are; its signer signs.
        refs: the tags and pins.
        dry_run: write nothing.

    Returns:
        The entries that got a signature, and the entries in force, whatever became of them.

    Raises:
        InputError: there is no key to sign with, or no keys are trusted.
        SignatureError: the key is not trusted here.
    """
    signer = signer_needed(store)
    if store.trust is None:
        raise InputError(
            "no keys are trusted here, so nothing tells which entries are right: name the old key and the new one in "
            "CAS_TRUSTED_KEYS, or add them with `cas trust add`"
        )
    store.check_format()
    floors = store.trust.floors
    found: list[SignedEntry] = []

    def work(job: tuple[RefLog, str, bool]) -> None:
        log, name, in_force = job
        try:
            entry = _Entry(store, log, name)
        except ObjectMissing:
            return  # a collector trimmed it meanwhile
        except FormatError:  # no program of ours reads it, signed or not
            if in_force:
                nothing = Move(name, datetime.datetime.min.replace(tzinfo=datetime.UTC), UNSET.entry)
                found.append(SignedEntry(log.ref, nothing, (), in_force, added=False, problem=UNREADABLE))
            return
        # Whoever trusts the new key alone may not know of the floor.
        if entry.move.number < floors.get(str(log.ref), 0):
            done = SignedEntry(log.ref, entry.move, entry.signers, in_force, added=False, problem=BELOW)
        elif entry.signers:
            done = entry.sign(signer, in_force=in_force, dry_run=dry_run)
        else:
            done = SignedEntry(log.ref, entry.move, (), in_force, added=False, problem=entry.problem)
        if in_force or done.added:
            found.append(done)

    jobs = []
    for ref in refs:
        log = RefLog(store, ref, is_verified=False)
        if not (names := log.names()):
            raise absent(store, ref)
        jobs += [(log, name, name == names[-1]) for name in names]
    if jobs:
        for_each(work, jobs, threads=min(_REQUESTS, len(jobs)))
    return sorted(found, key=lambda entry: (entry.ref, layout.ref_entry_order(entry.move.name)))


def signer_needed(store: Store) -> SecretKey:
    """Return the key that signs in a store.

    Raises:
        InputError: there is none.
        SignatureError: it is not trusted here.
    """
    refuse_foreign_signer(store)
    if store.signer is None:
        raise InputError("there is no key to sign with: name it with --sign-with or CAS_SIGNING_KEY (`cas keygen`)")
    return store.signer


class _Entry:
    """An entry as it lies in the store, with the signatures beside it.

    Attributes:
        move: what it says.
        signers: ids of the keys, trusted or the signer's own, whose signatures beside it are right.
        problem: why there is none, in a word.
    """

    def __init__(self, store: Store, log: RefLog, name: str) -> None:
        self._store, self._log = store, log
        self._id = RefEntryId(*log.ref, name)
        listed = next(entry for entry in log.last_listing() if entry.key == layout.ref_entry_key(self._id))
        self._data = bytes(store.bucket.get(listed.key, MAX_ENTRY))
        self.move = Move(entry_name(listed), listed.modified, log.decode(listed.key, self._data))
        self.problem = "unsigned"
        self.signers = tuple(sorted(self._verified()))

    def _verified(self) -> set[str]:
        trust, signer = self._store.trust, self._store.signer
        keys: dict[str, PublicKey] = dict(trust.keys) if trust else {}
        if signer is not None:
            keys[signer.public.id] = signer.public
        found, digest = set(), hex_of(self._data)[:16]
        for signature in self._log.signatures(self._id.name):
            if signature.key_id not in keys:
                self.problem = "not trusted"
            elif signature.digest != digest:
                self.problem = "altered"
            else:
                text = read_signature(self._store, signature)
                try:
                    found.add(check_entry(self._store, keys, str(self._log.ref), self._id, self._data, text))
                except SignatureError as error:
                    self.problem = error.problem
        return found

    def sign(self, signer: SecretKey | None, *, in_force: bool, dry_run: bool) -> SignedEntry:
        """Write the signature of the entry, unless this key has signed it already."""
        missing = signer is None or signer.public.id not in self.signers
        if missing and signer is not None and not dry_run:
            sign_entry(self._store, self._id, self._data, signer)
            self._store.bucket.settle()
        return SignedEntry(self._log.ref, self.move, self.signers, in_force, added=missing)
