"""The tags and pins in an archive that is read once: the last entry of each, and whether a trusted key signed it.

An archive holds entries and signatures as they lay in the store that it was exported from, whose name the signatures
hold. So they are verified under that name: the one that CAS_STORE_NAME gives to the archive, else that of the store
that the archive is brought into, as for a backup that comes home.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from cas.bucket import Kind, open_bucket
from cas.errors import FormatError, SignatureError
from cas.refs.entry import ENTRIES, RefEntry
from cas.refs.reflog import Ref, RefLog
from cas.store import layout
from cas.store.layout import RefEntryId, RefSignature
from cas.store.signing import canonical_name, name_setting
from cas.store.store import Store


class ArchivedRefs:
    """The refs of one archive, as far as it was read; members come in any order."""

    def __init__(self, archive: str, store: Store) -> None:
        """Begin without refs.

        Args:
            archive: the name of the archive, for errors.
            store: that the archive is brought into; whose signatures count there, count here.
        """
        self._archive, self._store = archive, store
        self._last: dict[Ref, tuple[RefEntryId, bytes, RefEntry]] = {}
        self._signatures: dict[Ref, dict[RefSignature, bytes]] = {}

    def add_entry(self, entry: RefEntryId, data: bytes) -> None:
        """Note the entry of a ref, of which the last one counts; raise FormatError if it is malformed."""
        try:
            read = ENTRIES.decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise FormatError(f"{layout.ref_entry_key(entry)} in {self._archive} is malformed ({error})") from None
        ref = Ref(*entry[:3])
        if not self._is_older(entry):
            self._last[ref] = entry, data, read

    def is_wanted(self, signature: RefSignature) -> bool:
        """Return whether a signature may be needed: it says that it is by a trusted key, and its entry may count."""
        trust = self._store.trust
        return trust is not None and signature.key_id in trust.keys and not self._is_older(signature.entry)

    def add_signature(self, signature: RefSignature, text: bytes) -> None:
        """Note a signature that `is_wanted`, given its text."""
        mine = self._signatures.setdefault(Ref(*signature.entry[:3]), {})
        for other in [other for other in mine if _order(other.entry) < _order(signature.entry)]:
            del mine[other]
        if all(_order(other.entry) == _order(signature.entry) for other in mine):
            mine[signature] = text

    def entries(self) -> Mapping[Ref, RefEntry]:
        """Return the last entry of each ref, whoever wrote it, ordered by ref."""
        return {ref: read for ref, (_, _, read) in sorted(self._last.items())}

    def verified(self, ref: Ref) -> RefEntry:
        """Return the last entry of a ref; where keys are trusted, one that a trusted key signed.

        Raises:
            SignatureError: keys are trusted, and none of them signed it, or it is below the ref's floor.
        """
        entry, data, read = self._last[ref]
        if self._store.trust is None:
            return read
        source = _Exported(self._archive, self._store)
        source.bucket.put(layout.ref_entry_key(entry), data, Kind.DOCUMENT)
        for signature, text in self._signatures.get(ref, {}).items():
            source.bucket.put(layout.ref_signature_key(*signature), text, Kind.SIGNATURE)
        try:
            move = RefLog(source, ref).last_move()
        except SignatureError as error:
            if error.problem != "misplaced":
                raise
            raise SignatureError(
                f"{error}. An archive is signed under the name of the store that it was exported from: say which that "
                f"is with CAS_STORE_NAME={name_setting(self._archive, '<name>')}",
                error.problem,
            ) from error
        assert move is not None, "its entry was put there"
        return move.entry

    def _is_older(self, entry: RefEntryId) -> bool:
        known = self._last.get(Ref(*entry[:3]))
        return known is not None and _order(entry) < _order(known[0])


class _Exported(Store):
    """The store that an archive was exported from, as far as one ref is concerned, in memory."""

    def __init__(self, archive: str, target: Store) -> None:
        """Begin empty.

        Args:
            archive: its path, by which errors name it.
            target: the store that the archive is brought into.
        """
        super().__init__(open_bucket("memory:"))
        self._archive, self._target = archive, target
        self.trust = target.trust

    @property
    def url(self) -> str:
        """The path of the archive."""
        return self._archive

    @property
    def name(self) -> str:
        """The store's name in signatures."""
        configured = super().name
        return self._target.name if configured == canonical_name(self._archive) else configured


def _order(entry: RefEntryId) -> tuple[int, str]:
    return layout.ref_entry_order(entry.name)
