"""A state machine: a store and a cache under publish, restore, kill, corruption and republish, in any order.

A dictionary says what each tag must name. After every step a tag names a complete version, the old one or the new one,
and a restore gives byte for byte what was published, or an error.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

import cas
from cas import refs
from cas.bucket import Bucket, Entry, Kind, open_bucket
from cas.errors import ChunkCorrupt, ChunkMissing, FormatError, IntegrityError, NotFoundError
from cas.formats.digest import Buffer, hex_of
from cas.formats.frame import decode
from cas.host import Limits
from cas.store.layout import chunk_key
from cas.store.store import Store
from tests.support.models import publish_tree, read_tree, snapshot, write_tree

TAGS = st.sampled_from(["latest", "prod"])
NAMES = st.sampled_from(["a.txt", "b.dat", "sub/c", "sub/deep/d.tensors", "e"])
CONTENTS = st.one_of(
    st.binary(max_size=200),
    st.integers(0, 3).map(lambda seed: bytes([seed]) * 70_000),
    st.just(b"\x10\0\0\0\0\0\0\0{" + b" " * 15 + b"x" * 3000),
)
PICKS = st.integers(0, 99)
"""Which item a rule picks: drawn even when there are no items, so that an example replays the same."""

ONE_AT_A_TIME = Limits(requests=1, uploads=1, workers=1)
"""One thread: with several it would be a matter of luck how far a call gets before it is killed."""

DAMAGES = st.sampled_from(["flip", "truncate", "delete"])
TREES = st.dictionaries(NAMES, CONTENTS, min_size=1)

# A flipped bit may turn a frame into one that only a newer version could have written.
BROKEN = (ChunkCorrupt, ChunkMissing, FormatError)


class Killed(BaseException):
    """Stands for the death of the process."""


class Mortal(Bucket):
    """A bucket that raises Killed after some number of requests."""

    def __init__(self, inner: Bucket, lives: int) -> None:
        self.url, self._inner, self._lives = inner.url, inner, lives

    def _live(self) -> None:
        self._lives -= 1
        if self._lives < 0:
            raise Killed

    def get(self, key: str, limit: int) -> Buffer:
        self._live()
        return self._inner.get(key, limit)

    def head(self, key: str) -> Entry:
        self._live()
        return self._inner.head(key)

    def put(self, key: str, data: Buffer, kind: Kind, *, overwrite: bool = False) -> bool:
        self._live()
        return self._inner.put(key, data, kind, overwrite=overwrite)

    def list(self, prefix: str) -> list[Entry]:
        self._live()
        return self._inner.list(prefix)

    def delete(self, key: str) -> None:
        self._live()
        self._inner.delete(key)


class StoreMachine(RuleBasedStateMachine):
    """One store, one cache, one working tree."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="machine-"))
        self.bucket = open_bucket(str(self.root / "store"))
        self.store = Store(self.bucket)
        self.cache = self.root / "cache"
        self.published: dict[str, dict[str, bytes]] = {}
        self.broken: dict[str, int] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    @initialize(tree=TREES)
    def begin(self, tree: dict[str, bytes]) -> None:
        self.tree = tree

    @rule(tree=TREES)
    def edit(self, tree: dict[str, bytes]) -> None:
        self.tree = tree

    @rule(tag=TAGS, force=st.booleans())
    def publish(self, tag: str, force: bool) -> None:
        publish_tree(self.store, self._source(), tags=[tag], force=force)
        self.published[tag] = self.tree
        self._forget_healed()
        for digest in self._chunks(tag).keys() & self.broken.keys():
            assert not force, "a forced publish replaces damaged chunks"
            assert self._stored(digest).exists(), "any publish sends again the chunks that the store lost"

    @rule(tag=TAGS, lives=st.integers(0, 40))
    def publish_and_die(self, tag: str, lives: int) -> None:
        before = self.published.get(tag)
        with contextlib.suppress(Killed):
            publish_tree(Store(Mortal(self.bucket, lives)), self._source(), tags=[tag], limits=ONE_AT_A_TIME)
        named = self._named(tag)
        assert named in (before, self.tree), "a tag moves only to the complete new version"
        if named is not None:
            self.published[tag] = named
        self._forget_healed()

    @precondition(lambda self: self.published)
    @rule(pick=PICKS, verify=st.booleans())
    def restore(self, pick: int, verify: bool) -> None:
        self._restore(one_of(self.published, pick), verify)

    @precondition(lambda self: self.published)
    @rule(pick=PICKS, lives=st.integers(0, 12))
    def restore_and_die(self, pick: int, lives: int) -> None:
        tag = one_of(self.published, pick)
        mortal = Store(Mortal(self.bucket, lives))
        with contextlib.suppress(Killed, *BROKEN):
            cas.restore(f"m:{tag}", mortal, cache_dir=self.cache, limits=ONE_AT_A_TIME)

    @precondition(lambda self: self.published)
    @rule(pick=PICKS, how=DAMAGES)
    def break_the_store(self, pick: int, how: str) -> None:
        sizes = {digest: size for tag in self.published for digest, size in self._chunks(tag).items()}
        if sizes:
            digest = one_of(sizes, pick)
            damage(self._stored(digest), how)
            self.broken[digest] = sizes[digest]
            self._forget_healed()

    @rule(pick=PICKS, how=DAMAGES)
    def break_the_cache(self, pick: int, how: str) -> None:
        blobs = [path for path in self.cache.glob("*/blobs/*") if path.is_file()]
        if blobs:
            damage(one_of(blobs, pick), how)
            for tag in self.published:
                self._restore(tag, verify=True)

    def _restore(self, tag: str, verify: bool) -> None:
        try:
            restored = cas.restore(f"m:{tag}", self.store, cache_dir=self.cache, verify=verify)
        except BROKEN:
            assert self.broken.keys() & self._chunks(tag).keys(), "only a broken chunk stops a restore"
        else:
            shown = read_tree(snapshot(restored))
            assert {path: shown.get(path) for path in self.published[tag]} == self.published[tag]

    def _source(self) -> Path:
        shutil.rmtree(self.root / "source", ignore_errors=True)
        return write_tree(self.root / "source", self.tree)

    def _stored(self, digest: str) -> Path:
        return self.root / "store" / chunk_key(digest)

    def _chunks(self, tag: str) -> dict[str, int]:
        return refs.resolve(self.store, f"m:{tag}").manifest.chunks()

    def _named(self, tag: str) -> dict[str, bytes] | None:
        """The tree that a tag names now; None when it names nothing."""
        try:
            (repo,) = refs.resolve(self.store, f"m:{tag}").manifest.repos
        except NotFoundError:
            return None
        listed = {file.path: file.blob for file in repo.files}
        known = [tree for tree in (self.published.get(tag), self.tree) if tree is not None]
        return next(tree for tree in known if listed == {path: sha256(data).hexdigest() for path, data in tree.items()})

    def _forget_healed(self) -> None:
        for digest, size in list(self.broken.items()):
            with contextlib.suppress(FileNotFoundError, IntegrityError, FormatError):
                if hex_of(decode(self._stored(digest).read_bytes(), size)) == digest:
                    del self.broken[digest]


def one_of(things: Iterable[Any], pick: int) -> Any:
    """Pick one of the things by number, independent of their order."""
    ordered = sorted(things)
    return ordered[pick % len(ordered)]


def damage(path: Path, how: str) -> None:
    """Flip a bit of a file, cut the file in half, or delete it."""
    data = path.read_bytes() if path.exists() else b""
    if how == "delete" or not data:
        path.unlink(missing_ok=True)
    elif how == "truncate":
        path.write_bytes(data[: len(data) // 2])
    else:
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :])


@pytest.fixture(autouse=True)
def restores_do_not_wait_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the fsync of restores: nothing here cuts the power, and each of hundreds waits 10 ms a file."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


TestMachine = StoreMachine.TestCase
TestMachine.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=TREES)
def test_any_tree_comes_back_as_it_was(tree: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(open_bucket(f"{folder}/store"))
        publish_tree(store, write_tree(Path(folder, "source"), tree))
        restored = cas.restore("m", store, cache_dir=f"{folder}/cache")
        assert read_tree(snapshot(restored)) == tree
