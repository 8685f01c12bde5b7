"""Whether the server behind a store refuses to replace an object when it is told so (`If-None-Match: *`).

AWS, R2, SeaweedFS and Ceph RGW without versions do. Backblaze B2 answers 501; Ceph RGW with versions, rclone and
s3rver answer 200 and replace the object, so that all of several racers are told that they won. Only trying tells:

    read      probes/conditional-writes.json says no: the answer is no
    probe     write it to say yes, on condition that nothing is there; then to say no, on the same condition

What remains in the store is true by its making, and holds for everybody. A yes is tried again by each process that
relies on it, at the cost of one request: the switch for a bucket's versions may turn it into a no.
"""

from __future__ import annotations

import msgspec

from cas.bucket import Kind
from cas.errors import FormatError, ObjectMissing
from cas.formats.typed_json import JsonFormat
from cas.store import layout
from cas.store.store import Store


class _Verdict(msgspec.Struct, frozen=True):
    """The content of probes/conditional-writes.json.

    Attributes:
        honoured: whether the server honours conditional writes.
    """

    honoured: bool


_VERDICTS = JsonFormat[_Verdict](_Verdict)
_YES, _NO = _VERDICTS.encode(_Verdict(True)), _VERDICTS.encode(_Verdict(False))


def are_honoured(store: Store) -> bool:
    """Return whether of several writers who must not replace an object exactly one succeeds.

    A directory is believed. A server gets two requests, three in a new store, and one after a no.

    Args:
        store: whose server is asked.

    Raises:
        FormatError: what the store holds about it is malformed.
    """
    first: bytes | None = None
    try:
        if not store.get_document(layout.CONDITIONAL_WRITES, 1024, _read).honoured:
            return False
    except ObjectMissing:
        first = _YES
    honoured = store.bucket.probe_conditional_writes(layout.CONDITIONAL_WRITES, first, _NO)
    if not honoured:
        store.bucket.put(layout.CONDITIONAL_WRITES, _NO, Kind.DOCUMENT, overwrite=True)
    return honoured


def _read(data: bytes) -> _Verdict:
    try:
        return _VERDICTS.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise FormatError(f"{layout.CONDITIONAL_WRITES} is malformed: delete it, and it is written anew") from None
