"""A signed store on a real server, and an intruder who holds a publisher's key to its bucket and no signing key."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from cas.bucket import Bucket, Kind, open_bucket
from cas.formats.digest import hex_of
from cas.formats.manifest import digest_of
from cas.refs.entry import ENTRIES, new_entry
from cas.refs.reference import log_of, parse_reference
from cas.store import layout
from cas.store.store import Store, open_store
from tests.support.in_process import call_cas
from tests.support.keys import KeyFiles, make_key
from tests.support.models import REPO, noise, put_model, read_tree
from tools.servers.seaweed import SeaweedFS

OLD, GOOD, EVIL = ({"config.json": b"{}", "model.bin": noise(3000, seed)} for seed in (1, 2, 3))
"""A version with a known hole, the one that was released after it, and one that the intruder made."""


SIGNING = ("CAS_TRUSTED_KEYS", "CAS_SIGNING_KEY")
"""The variables of somebody who signs and trusts."""


def statement(store: str, key: str, data: bytes) -> bytes:
    """Return what is signed of an entry, written down anew from docs/design.md.

    Args:
        store: the store's name.
        key: the entry's key in the store.
        data: the entry's bytes.
    """
    return f"model-cas ref entry 1\nstore: {store}\nentry: {key}\nblake3: {hex_of(data)}\n".encode()


def signature_key(key: str, id_: str, data: bytes) -> str:
    """Return the key under which the signature of an entry lies.

    Args:
        key: the entry's key.
        id_: of the signing key, 16 hex digits.
        data: the entry's bytes.
    """
    return f"{key.removesuffix('.json')}-{id_.lower()}-{hex_of(data)[:16]}.minisig"


class Shop:
    """A store in which somebody with a signing key released versions of the model m.

    `m:latest` named OLD first and names GOOD now, `m:prod` names GOOD, `m:old` OLD; of the deployments, eu-prod has
    pinned GOOD (after OLD) and us-prod OLD. Another model n has a tag latest, and the model eu-prod a tag m. The store
    staging lies beside it in the bucket, has the same logs, and OLD as the third move of `m:latest`.

    Attributes:
        url, staging: the URLs of both stores.
        old, good: digests (64 hex) of the versions of m.
        other: digest (64 hex) of the version of n.
        keys: the key that releases are signed with, and which readers trust.
        admin: the objects of the store, with a key that may do everything.
    """

    def __init__(self, server: SeaweedFS, bucket: str, folder: Path) -> None:
        """Make the stores in a new bucket.

        Args:
            server: a real S3 server.
            bucket: name of the bucket.
            folder: for keys.
        """
        self._server, self._name = server, bucket
        server.create_bucket(bucket)
        self.url, self.staging = f"s3://{bucket}/prod", f"s3://{bucket}/staging"
        self.keys, self._foreign = make_key(folder, "release"), make_key(folder, "foreign")
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.variables("admin", trusts=True, signs=True).items():
                patch.setenv(name, value)
            for url in (self.url, self.staging):
                self.old, self.good, self.other = _fill(open_store(url))
            log_of(open_store(self.staging), parse_reference("m:latest")).append(self.old, "try the old one")
            self.admin = open_bucket(self.url)
            self._objects = {entry.key: bytes(self.admin.get(entry.key, 1 << 20)) for entry in self.admin.list("")}
            self._tags = {entry.key: entry.tag for entry in self.admin.list("")}

    def variables(self, identity: str = "admin", *, trusts: bool = True, signs: bool = False) -> dict[str, str]:
        """Return the environment of somebody.

        Args:
            identity: whose key to the bucket; see `SeaweedFS`.
            trusts: whether the release key is trusted.
            signs: whether the release key is at hand.
        """
        found = {**self._server.env(self._name, identity), "CAS_STORE": self.url}
        if trusts:
            found["CAS_TRUSTED_KEYS"] = self.keys.line
        if signs:
            found["CAS_SIGNING_KEY"] = str(self.keys.file)
        return found

    def reset(self) -> None:
        """Undo whatever was done to the store since it was made."""
        now = {entry.key: entry.tag for entry in self.admin.list("")}
        for key in now.keys() - self._objects.keys():
            self.admin.delete(key)
        for key, data in self._objects.items():
            if now.get(key) != self._tags[key]:
                self.admin.put(key, data, Kind.DOCUMENT, overwrite=True)

    def intruder(self, identity: str = "writer") -> Intruder:
        """Return somebody who got hold of a key to the bucket.

        Args:
            identity: `writer`, a publisher's key as docs/operations/permissions.md gives it, which reads and writes; or
                `publisher`, one that deletes, too, as a publisher's key of Cloudflare R2 does.
        """
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.variables(identity, trusts=False).items():
                patch.setenv(name, value)
            return Intruder(self, open_bucket(self.url), open_bucket(self.staging), self._foreign)


def _fill(store: Store) -> tuple[str, str, str]:
    """Release the versions in an empty store; return the digests (64 hex) of OLD and GOOD, and of the version of n."""
    old, good = (digest_of(put_model(store, {REPO: files})) for files in (OLD, GOOD))
    other = digest_of(put_model(store, {REPO: OLD}, model="n"))
    put_model(store, {REPO: OLD}, model="eu-prod", tag="m")
    moves = {
        "m:prod": (good,),
        "m:old": (old,),
        "pin:eu-prod/m": (old, good),
        "pin:us-prod/m": (old,),
    }
    for ref, digests in moves.items():
        for digest in digests:
            log_of(store, parse_reference(ref)).append(digest, "release")
    return old, good, other


class Intruder:
    """Somebody who may write to the bucket, and knows no signing key that readers trust.

    Attributes:
        shop: whose bucket it is.
        bucket, staging: the objects of both stores.
        evil: digest (64 hex) of EVIL, a version of m that the intruder brought into the store, and that no ref names.
        keys: a signing key of the intruder's own.
    """

    def __init__(self, shop: Shop, bucket: Bucket, staging: Bucket, keys: KeyFiles) -> None:
        self.shop, self.bucket, self.staging, self.keys = shop, bucket, staging, keys
        made = Store(open_bucket("memory:"))
        self.evil = digest_of(put_model(made, {REPO: EVIL}))
        for entry in (*made.bucket.list(layout.CHUNKS), *made.bucket.list(layout.MANIFESTS)):
            self.write(entry.key, bytes(made.bucket.get(entry.key, 1 << 20)))

    def write(self, key: str, data: bytes) -> None:
        """Write an object, over what is there."""
        self.bucket.put(key, data, Kind.DOCUMENT, overwrite=True)

    def read(self, key: str, bucket: Bucket | None = None) -> bytes:
        """Return an object of the store, or of another bucket."""
        return bytes((bucket or self.bucket).get(key, 1 << 20))

    def entries(self, ref: str, bucket: Bucket | None = None) -> list[str]:
        """Return the keys of the entries of a ref, oldest first."""
        listed = (bucket or self.bucket).list(_folder(ref))
        return [entry.key for entry in listed if layout.ref_entry(entry.key)]

    def signatures(self, key: str, bucket: Bucket | None = None) -> list[str]:
        """Return the keys of the signatures of an entry."""
        listed = (bucket or self.bucket).list(key.rpartition("/")[0])
        stem = key.removesuffix(".json")
        return [entry.key for entry in listed if entry.key.startswith(stem) and entry.key.endswith(".minisig")]

    def entry(self, digest: str | None) -> bytes:
        """Return the bytes of an entry that moves a ref to a version, or removes it."""
        return ENTRIES.encode(new_entry(digest, "release", "release@ci", None))

    def next(self, ref: str, number: int = 0, identity: str = "f" * 16) -> str:
        """Return a key for a new entry of a ref.

        Args:
            ref: the ref.
            number: the entry's number; 0 for the one after the last.
            identity: the entry's id, 16 hex digits.
        """
        number = number or layout.ref_entry_order(self.entries(ref)[-1].rpartition("/")[2])[0] + 1
        return f"{_folder(ref)}/{layout.ref_entry_name(number, identity)}"

    def append(self, ref: str, digest: str | None, number: int = 0) -> str:
        """Append an entry to the log of a ref, and return its key."""
        key = self.next(ref, number)
        self.write(key, self.entry(digest))
        return key

    def transplant(self, key: str, to: str, bucket: Bucket | None = None) -> None:
        """Copy an entry with its signatures to another key.

        Args:
            key: of the entry.
            to: the other key.
            bucket: where the entry is; None for the store.
        """
        data = self.read(key, bucket)
        for signature in self.signatures(key, bucket):
            self.write(
                signature.replace(key.removesuffix(".json"), to.removesuffix(".json")), self.read(signature, bucket)
            )
        self.write(to, data)

    def sign(self, key: str, data: bytes, claimed: str = "") -> None:
        """Put a signature by the intruder's key beside an entry.

        Args:
            key: of the entry.
            data: the entry's bytes.
            claimed: the id of the key that the object's name shall tell; empty for the true one.
        """
        text = statement(self.shop.url, key, data)
        signature = self.keys.secret.sign(text, text.decode().replace("\n", " ").strip())
        self.write(signature_key(key, claimed or self.keys.id, data), signature.encode())


def _folder(ref: str) -> str:
    """Return the folder of a ref's log, written down anew from docs/design.md."""
    if ref.startswith("pin:"):
        return f"refs/pins/{ref.removeprefix('pin:')}"
    return f"refs/tags/{ref.replace(':', '/')}"


class Reader:
    """Somebody who restores from the store, each time into an empty cache.

    Attributes:
        shop: whose store it is.
        folder: for caches.
    """

    def __init__(self, shop: Shop, folder: Path) -> None:
        self.shop, self.folder = shop, folder
        self._count = 0

    def restore(self, ref: str, *, trusts: bool = True, **env: str) -> Restored:
        """Run `cas restore` with a reader's key.

        Args:
            ref: what to restore.
            trusts: whether the release key is trusted.
            env: more variables.
        """
        self._count += 1
        cache = self.folder / f"cache-{self._count}"
        variables = {**self.shop.variables("reader", trusts=trusts), "HF_HUB_CACHE": str(cache), **env}
        with pytest.MonkeyPatch.context() as patch:
            for name in SIGNING:
                patch.delenv(name, raising=False)
            done = call_cas("restore", ref, env=variables)
        found = list(cache.glob("models--*/snapshots/*"))
        return Restored(done.returncode, done.stderr, read_tree(found[0]) if found else {})


class Restored(NamedTuple):
    """How a restore ended: its exit code, what it said, and the files that a program finds then."""

    code: int
    error: str
    files: dict[str, bytes]
