"""A store whose refs a key signs, somebody who has a key to the bucket alone, and receipts."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import msgspec

from cas import host
from cas.bucket import Kind
from cas.formats.digest import named
from cas.formats.manifest import timestamp
from cas.formats.minisign import SecretKey, new_key
from cas.local.trusted_keys import Trust
from cas.ops.audit.auditor import audit
from cas.ops.audit.result import Audit
from cas.refs.reflog import Ref, RefLog
from cas.store.receipt import Bytes, Receipt
from cas.store.store import Store
from tests.refs.logs import published

LATEST = Ref("tags", "m", "latest")
PROD = Ref("pins", "eu-prod", "m")


@dataclass
class SignedStore:
    """A store with a tag that went from `one` to `two`, and a pin of `one`, all signed.

    Attributes:
        store: with the key that signs, and is trusted.
        key: that key.
        one: a version (64 hex); `two` is the next, `bad` one that nobody released.
    """

    store: Store
    key: SecretKey
    one: str
    two: str
    bad: str

    @property
    def trust(self) -> Trust:
        assert self.store.trust is not None
        return self.store.trust

    def move(self, ref: Ref, digest: str | None, by: SecretKey | None = None) -> None:
        """Move a ref, signed by the trusted key, or by another."""
        store = self.store if by is None else self.intruder(by)
        RefLog(store, ref).append(digest, "release", "ann")

    def intrude(self, ref: Ref, digest: str | None) -> None:
        """Move a ref as somebody does who has a key to the bucket, and none to sign with."""
        RefLog(self.intruder(), ref).append(digest, "mine now", "mallory")

    def intruder(self, key: SecretKey | None = None) -> Store:
        store = Store(self.store.bucket)
        store.signer = key
        return store

    def receipt(self, digest: str, deployment: str = "eu-prod", *, ok: bool = True, model: str = "m") -> str:
        """Write a receipt, and return its key."""
        receipt = Receipt(
            manifest=named(digest),
            model=model,
            deployment=deployment,
            reason="because",
            when=timestamp(datetime.datetime.now(datetime.UTC)),
            seconds=1.0,
            ok=ok,
            phases=(),
            bytes=Bytes(total=1, present=0, fetched=1, wire=1, reused=0),
            rate=1.0,
            host=host.facts(),
            versions={},
        )
        key = receipt.key()
        self.store.bucket.put(key, msgspec.json.Encoder().encode(receipt), Kind.DOCUMENT)
        return key

    def audit(self, reference: str | None = None, **options: object) -> Audit:
        return audit(reference, self.store, **options)  # type: ignore[arg-type]


def signed_store(store: Store) -> SignedStore:
    """Fill a store, which has none of these refs yet."""
    key = new_key()
    store.create()
    store.trust, store.signer = Trust(), key
    store.trust.add_key(key.public, "ann's key", "a test")
    made = SignedStore(store, key, *(published(store, note) for note in ("one", "two", "bad")))
    made.move(LATEST, made.one)
    made.move(LATEST, made.two)
    made.move(PROD, made.one)
    return made


def kinds(found: Audit) -> list[tuple[str, str]]:
    """Return kind and place of each problem."""
    return [(problem.kind, problem.where) for problem in found.problems]
