"""Signatures of refs' entries: what is signed, how it is written, and how an entry is verified.

A key signs, in minisign's form, a short text that anybody can write down again (`statement`):

    model-cas ref entry 1
    store: s3://bucket/prefix
    entry: refs/tags/f5-tts/latest/00000042-<id>.json
    blake3: <64 hex of the entry's bytes>

So a signature holds for these bytes, as this entry, under this number, of this ref, in this store. The entry names a
manifest by its digest, and that names every chunk. A signature says nothing of what is newest: that is for floors
(`cas/refs/floors.py`). Only where keys are trusted, or a key signs, is this module imported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from cas.bucket import Kind
from cas.errors import FormatError, InputError, ObjectMissing, ObjectTooLarge, SignatureError, SignerMissing
from cas.formats.digest import hex_of
from cas.parallel import BackgroundCall
from cas.store import layout
from cas.store.layout import RefEntryId, RefSignature
from cas.store.store import Store

if TYPE_CHECKING:
    from cas.formats.minisign import PublicKey, SecretKey
    from cas.local.trusted_keys import Trust

MAX_ENTRY = 64 * 1024
"""Bytes of the largest entry of a ref that is read."""

_MAX_SIGNATURE = 16 * 1024  # bytes; a signature has 300, and the name of its store and its key twice
_TITLE = "model-cas ref entry 1"
_COMMENT = re.compile(r"store: ([^\t]+)\tentry: ([^\t]+)\tblake3: ([0-9a-f]{64})")
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # control characters, and bytes that are no UTF-8


class Claim(NamedTuple):
    """What a signature is for.

    Attributes:
        store: the name of the store (`Store.name`).
        key: of the entry in the store.
        digest: the BLAKE3 of the entry's bytes, 64 hex.
    """

    store: str
    key: str
    digest: str

    def statement(self) -> bytes:
        """Return the text that is signed; each of its four lines ends with a line feed."""
        return f"{_TITLE}\nstore: {self.store}\nentry: {self.key}\nblake3: {self.digest}\n".encode()

    def comment(self) -> str:
        """Return the trusted comment of the signature: the statement in one line, which is signed, too."""
        return f"store: {self.store}\tentry: {self.key}\tblake3: {self.digest}"


def statement(store: Store, entry: RefEntryId, data: bytes) -> Claim:
    """Return what a signature of an entry's bytes in a store is for.

    Raises:
        InputError: the store's name holds a control character, which would make the statement ambiguous, or bytes that
            are no UTF-8.
    """
    if _UNFIT.search(store.name):
        raise InputError(f"the store's name {store.name!a} is no text of one line: set CAS_STORE_NAME to another")
    return Claim(store.name, layout.ref_entry_key(entry), hex_of(data))


def signer_of(store: Store, refs: Sequence[object]) -> SecretKey | None:
    """Return the key that signs entries in a store; None where none signs, and none is trusted.

    Args:
        store: where refs are to be moved.
        refs: which of them, for the error.

    Raises:
        SignerMissing: keys are trusted, and none signs.
        SignatureError: the key that signs is not trusted here, so that nobody here would believe it.
    """
    refuse_foreign_signer(store)
    if store.trust is not None and store.signer is None:
        raise SignerMissing(
            f"{', '.join(map(str, refs))} in {store.url} cannot be moved without a key to sign with, as only signed "
            f"versions count here (trusted: {', '.join(sorted(store.trust.keys))}): nothing was moved; name the key "
            "with --sign-with or CAS_SIGNING_KEY"
        )
    return store.signer


def refuse_foreign_signer(store: Store) -> None:
    """Raise SignatureError when the key that signs in this store is none of those that are trusted here."""
    if store.trust is None or store.signer is None:
        return
    public, trusted = store.signer.public, store.trust.keys
    if trusted.get(public.id) != public:
        raise SignatureError(
            f"the key {public.id}, which is to sign, is not trusted here (trusted: {', '.join(sorted(trusted))}): "
            "nothing was written; sign with one of these, or add its public key with `cas trust add` first"
        )


def sign_entry(store: Store, entry: RefEntryId, data: bytes, signer: SecretKey) -> None:
    """Write the signature of an entry beside it.

    Args:
        store: where the entry is, or is about to be written.
        entry: the entry.
        data: its bytes.
        signer: the key that signs.
    """
    claim = statement(store, entry, data)
    signature = signer.sign(claim.statement(), claim.comment()).encode()
    key = layout.ref_signature_key(entry, signer.public.id, claim.digest)
    # One key makes one signature of one text: what differs from that was damaged, or was never a signature.
    if not store.bucket.put(key, signature, Kind.SIGNATURE):
        store.bucket.put(key, signature, Kind.SIGNATURE, overwrite=True)


def read_signed(
    store: Store,
    trust: Trust,
    ref: str,
    entry: RefEntryId,
    listed: Callable[[bool], Sequence[RefSignature]],
) -> tuple[bytes, str]:
    """Return the bytes of an entry that a trusted key signed, and the id of that key.

    The entry and its signature are fetched side by side. What does not verify is listed and fetched once more: a
    listing that takes several steps may show an entry whose signature was written after the listing passed its place,
    and bytes may be damaged on the way.

    Args:
        store: where the entry is.
        trust: the keys that are trusted.
        ref: the tag or pin in words, for errors.
        entry: the entry.
        listed: returns the signatures of the entry that a listing shows; with True, those of a new listing.

    Raises:
        SignatureError: no trusted key signed these bytes as this entry of this store.
        ObjectMissing: the store does not have the entry.
    """
    try:
        return _read_once(store, trust, ref, entry, listed(False))
    except SignatureError:
        return _read_once(store, trust, ref, entry, listed(True))


def _read_once(
    store: Store, trust: Trust, ref: str, entry: RefEntryId, listed: Sequence[RefSignature]
) -> tuple[bytes, str]:
    trusted = [signature for signature in listed if signature.key_id in trust.keys]
    if not trusted:
        raise _unsigned(store, trust, ref, entry, listed)
    likely = trusted[-1]
    fetched = BackgroundCall(lambda: read_signature(store, likely))
    try:
        data = bytes(store.bucket.get(layout.ref_entry_key(entry), MAX_ENTRY))
    except ObjectTooLarge:
        raise _problem(
            store, ref, entry, "altered", f"is larger than any that {likely.key_id} signed: it was replaced"
        ) from None
    digest = hex_of(data)
    fitting = [signature for signature in trusted if signature.digest == digest[:16]]
    if not fitting:
        raise _problem(store, ref, entry, "altered", f"is not what {likely.key_id} signed: it was replaced after that")
    if likely in fitting:
        fitting = [likely, *(signature for signature in fitting if signature != likely)]
    failed: SignatureError | None = None
    for signature in fitting:
        text = fetched.result() if signature == likely else read_signature(store, signature)
        try:
            return data, check_entry(store, trust.keys, ref, entry, data, text)
        except SignatureError as error:
            failed = failed or error
    assert failed is not None, "one signature at least was looked at"
    raise failed


def read_signature(store: Store, signature: RefSignature) -> str:
    """Return the text of a signature; empty when it is gone, or larger than any signature."""
    key = layout.ref_signature_key(*signature)
    try:
        return bytes(store.bucket.get(key, _MAX_SIGNATURE)).decode(errors="replace")
    except (ObjectMissing, FormatError):
        return ""


def check_entry(
    store: Store, keys: Mapping[str, PublicKey], ref: str, entry: RefEntryId, data: bytes, signature: str
) -> str:
    """Return the id of the key that signed an entry of a store.

    Args:
        store: where the entry is.
        keys: the keys that count, by key id.
        ref: the tag or pin in words, for errors.
        entry: the entry.
        data: its bytes.
        signature: the text of the signature.

    Raises:
        SignatureError: the signature is not that of one of these keys, or is that of something else.
    """
    from cas.formats.minisign import verify

    claim = statement(store, entry, data)
    try:
        key_id = verify(claim.statement(), signature, keys).key_id
    except (SignatureError, FormatError):
        raise _misfit(store, keys, ref, entry, claim, signature) from None
    # What minisign leaves unsigned, the first line and how lines end, may not differ either: one signature, one text.
    first, *rest = signature.split("\n")
    if first != f"untrusted comment: signature from key {key_id}" or len(rest) != 4 or rest[-1]:
        raise _problem(store, ref, entry, "altered", f"has a signature by {key_id} whose text was altered")
    return key_id


def _misfit(
    store: Store, keys: Mapping[str, PublicKey], ref: str, entry: RefEntryId, claim: Claim, signature: str
) -> SignatureError:
    """Return the error for a signature that is not one of `claim` by one of the keys."""
    from cas.formats.minisign import parse_signature, verify

    # What the signature itself says it is for is believed only if the signature proves that. It then tells the cause.
    try:
        match = _COMMENT.fullmatch(parse_signature(signature).comment)
        claimed = Claim(*match.groups()) if match else claim
        key_id = verify(claimed.statement(), signature, keys).key_id
    except (SignatureError, FormatError) as error:
        known = ", ".join(sorted(keys))
        return _problem(store, ref, entry, "altered", f"has a signature that is not valid ({error}; trusted: {known})")
    if claimed.store != claim.store:
        return _problem(
            store,
            ref,
            entry,
            "misplaced",
            f"was signed by {key_id} for {claimed.store}, not for {claim.store}",
            "if they are one store, set CAS_STORE_NAME to the name that it was signed for; if not, ",
        )
    if claimed.key != claim.key:
        what = f"has the signature of another entry ({claimed.key}) by {key_id}"
        return _problem(store, ref, entry, "misplaced", what)
    return _problem(store, ref, entry, "altered", f"is not what {key_id} signed: its bytes were altered")


def _unsigned(
    store: Store, trust: Trust, ref: str, entry: RefEntryId, listed: Sequence[RefSignature]
) -> SignatureError:
    known = f"(trusted here: {', '.join(sorted(trust.keys))})"
    if not listed:
        return _problem(store, ref, entry, "unsigned", f"has no signature {known}")
    others = ", ".join(sorted({signature.key_id for signature in listed})[:4])
    return _problem(
        store,
        ref,
        entry,
        "not trusted",
        f"is signed by {others} alone, which is not trusted here {known}",
        "trust that key with `cas trust add` if you know whose it is; if not, ",
    )


def _problem(store: Store, ref: str, entry: RefEntryId, problem: str, what: str, advice: str = "") -> SignatureError:
    number = layout.ref_entry_order(entry.name)[0]
    return SignatureError(
        f"{ref} in {store.url}: entry {number} {what}: {advice}look at it with `cas history {ref}`, and sign it with "
        f"`cas sign {ref}` if it is right, or go back to what was signed with `cas rollback {ref}`",
        problem,
    )
