"""Whatever is done to a signed store, and whoever else writes to it: a ref names what was released last, or nothing.

A state machine moves, removes, rolls back, collects and copies, with a signing key. An intruder appends entries and
floods logs between these steps. A dictionary says what each ref must name.
"""

from __future__ import annotations

import datetime

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from cas import refs
from cas.errors import InputError, NotFoundError, SignatureError
from cas.formats.manifest import digest_of
from cas.ops.gc.collector import gc
from cas.ops.transfer.copier import copy
from cas.refs import history, log_of, parse_reference
from cas.refs.move import move
from cas.store.store import Store
from tests.attacks.in_memory import append_unsigned, signed_store
from tests.support.models import put_model

REFS = st.sampled_from(["m:latest", "m:prod", "pin:eu/m"])
VERSIONS = st.integers(0, 3)
EVIL = 9  # of the versions, that which only the intruder names
AT_ONCE = datetime.timedelta(0)


class SigningMachine(RuleBasedStateMachine):
    """A signed store, another that versions are copied to, and an intruder who writes to both."""

    @initialize()
    def begin(self) -> None:
        self.store, self.other = signed_store("s3://a/cas"), signed_store("s3://b/cas")
        self.named: dict[str, str | None] = {}
        self.attacked: set[str] = set()
        self.versions = {seed: self._put(seed) for seed in (0, 1, 2, 3, EVIL)}

    def _put(self, seed: int) -> str:
        made = put_model(self.store, {"org/m": {"a.bin": b"%d" % seed * 100}}, tag=f"kept-{seed}")
        return digest_of(made)

    @rule(ref=REFS, version=VERSIONS)
    def move(self, ref: str, version: int) -> None:
        digest = self.versions[version]
        move(self.store, {log_of(self.store, parse_reference(ref)).ref: None}, digest, "test")
        self.named[ref] = digest
        self.attacked.discard(ref)

    @precondition(lambda self: self.named)
    @rule(ref=REFS)
    def remove(self, ref: str) -> None:
        if ref in self.named:
            move(self.store, {log_of(self.store, parse_reference(ref)).ref: None}, None, "test")
            self.named[ref] = None
            self.attacked.discard(ref)

    @rule(ref=REFS, removes=st.booleans(), times=st.sampled_from([1, 2, 25]))
    def intrude(self, ref: str, removes: bool, times: int) -> None:
        for _ in range(times):
            append_unsigned(self.store, ref, None if removes else self.versions[EVIL])
        self.named.setdefault(ref, None)
        self.attacked.add(ref)

    @precondition(lambda self: self.named)
    @rule(ref=REFS)
    def roll_back(self, ref: str) -> None:
        try:
            done = history.rollback(self.store, ref)
        except (InputError, NotFoundError):
            return
        assert done.after in {self.versions[number] for number in range(4)}, "never what the intruder named"
        if ref in self.attacked and self.named[ref] is not None:
            assert done.after == self.named[ref], "the version that was released last"
        self.named[ref] = done.after
        self.attacked.discard(ref)

    @rule(runs=st.integers(1, 3))
    def collect(self, runs: int) -> None:
        for _ in range(runs):
            gc(self.store, grace=AT_ONCE)

    @precondition(lambda self: self.named)
    @rule(ref=REFS)
    def copy(self, ref: str) -> None:
        before = self._resolved(self.other, ref)
        digest = self.named.get(ref)
        if ref in self.attacked:
            with pytest.raises(SignatureError):
                copy([ref], self.other, self.store)
            assert self._resolved(self.other, ref) == before
        elif digest is not None:
            copy([ref], self.other, self.store)
            assert self._resolved(self.other, ref) == digest

    def check_invariants(self, *arguments: object, **options: object) -> None:
        super().check_invariants(*arguments, **options)  # type: ignore[no-untyped-call]
        if not hasattr(self, "named"):
            return
        for ref, digest in self.named.items():
            if ref in self.attacked:
                with pytest.raises(SignatureError):
                    refs.resolve(self.store, ref)
            else:
                assert self._resolved(self.store, ref) == digest

    @staticmethod
    def _resolved(store: Store, ref: str) -> str | None:
        try:
            return refs.resolve(store, ref).digest
        except NotFoundError:
            return None


TestSigning = SigningMachine.TestCase
TestSigning.settings = settings(max_examples=6, stateful_step_count=10)
