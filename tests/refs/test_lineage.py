"""When, by whom and after what a version was made, as the logs of the tags tell."""

from __future__ import annotations

import datetime
import json

import pytest

from cas.bucket import Kind
from cas.formats.digest import named
from cas.refs.lineage import FirstMove, first_moves
from cas.refs.move import move
from cas.refs.reflog import Ref, RefLog
from cas.store.layout import VersionId
from cas.store.store import Store
from cas.version import __version__
from tests.refs.logs import published

A, B, C, D = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)
PROGRAM = f"cas {__version__}"
LATEST, STABLE = Ref("tags", "m", "latest"), Ref("tags", "m", "stable")


def entry(store: Store, number: int, digest: str | None, second: int, ref: Ref = LATEST, identity: int = 0) -> None:
    """Write an entry of a log. second: of its time, at which the author is `by <second>`."""
    data = {
        "manifest": digest and named(digest),
        "created": f"2026-01-01T00:00:{second:02}Z",
        "by": f"by {second} (cas 0.{second})",
        "reason": "test",
    }
    store.bucket.put(f"{ref.prefix}/{number:08d}-{identity:016x}.json", json.dumps(data).encode(), Kind.DOCUMENT)


def never(version: VersionId) -> datetime.datetime | None:
    raise AssertionError(f"the time of {version} is of no use where no log is trimmed")


def told(store: Store) -> dict[str, tuple[str, str | None]]:
    """Return author and parent of each version, by its first letter."""
    return {
        version.digest[0]: (found.by, found.parent and found.parent[0])
        for version, found in first_moves(store, {"m"}, never).items()
    }


def test_the_first_move_tells_when_by_whom_and_after_what(store: Store) -> None:
    entry(store, 1, A, 1)
    entry(store, 2, B, 2)
    moves = first_moves(store, {"m"}, never)
    found = moves[VersionId("m", B)]
    assert found == FirstMove(LATEST, found.at, "2026-01-01T00:00:02Z", "by 2", "cas 0.2", A)
    assert abs(datetime.datetime.now(datetime.UTC) - found.at) < datetime.timedelta(hours=1)
    assert moves[VersionId("m", A)].parent is None
    assert first_moves(store, {"other"}, never) == {}


@pytest.mark.parametrize(
    ("moves", "parents"),
    [
        ([A, B, A, C], {"a": None, "b": "a", "c": "a"}),
        ([A, None, B], {"a": None, "b": "a"}),
        ([None, A, A, None, A, B], {"a": None, "b": "a"}),
        ([], {}),
    ],
    ids=["rollback", "removal", "again", "never set"],
)
def test_what_the_tag_named_before_is_the_parent(
    directory_store: Store, moves: list[str | None], parents: dict[str, str | None]
) -> None:
    directory_store.create()
    for number, digest in enumerate(moves, 1):
        entry(directory_store, number, digest, number)
    assert {name: parent for name, (_, parent) in told(directory_store).items()} == parents


def test_an_entry_that_cannot_be_read_is_passed_over(store: Store) -> None:
    entry(store, 1, A, 1)
    store.bucket.put(f"{LATEST.prefix}/00000002-{'0' * 16}.json", b"{", Kind.DOCUMENT)
    entry(store, 3, B, 3)
    assert told(store) == {"a": ("by 1", None), "b": ("by 3", "a")}


def test_a_move_that_lost_tells_of_its_version_and_is_nobodys_parent(store: Store) -> None:
    entry(store, 1, A, 1)
    entry(store, 2, B, 2, identity=1)
    entry(store, 2, C, 3, identity=2)
    entry(store, 3, D, 4)
    assert told(store) == {"a": ("by 1", None), "b": ("by 2", "a"), "c": ("by 3", "a"), "d": ("by 4", "c")}


def test_of_several_tags_the_earliest_move_counts(store: Store) -> None:
    entry(store, 1, C, 1, STABLE)
    entry(store, 1, A, 2)
    entry(store, 2, B, 3)
    entry(store, 2, B, 9, STABLE)
    assert told(store) == {"a": ("by 2", None), "b": ("by 3", "a"), "c": ("by 1", None)}


def test_of_moves_at_one_time_the_one_that_replaced_a_version_counts(store: Store) -> None:
    entry(store, 1, A, 1, STABLE)
    entry(store, 1, B, 2)
    entry(store, 2, B, 2, STABLE)
    assert told(store)["b"] == ("by 2", "a")


def test_one_operation_moves_all_its_tags_at_one_time(store: Store) -> None:
    first, second = (published(store, note) for note in ("1", "2"))
    RefLog(store, STABLE).append(first, "test", created="2026-01-01T00:00:00Z")
    move(store, {LATEST: None, STABLE: None}, second, "test", "ann")
    times = {RefLog(store, ref).history()[-1].entry.created for ref in (LATEST, STABLE)}
    assert len(times) == 1
    found = first_moves(store, {"m"}, never)[VersionId("m", second)]
    assert (found.ref, found.by, found.parent) == (STABLE, "ann", first)


def test_what_a_trimmed_log_can_no_longer_tell_is_not_guessed(store: Store) -> None:
    for number, digest in ((7, B), (8, C), (9, A)):
        entry(store, number, digest, number)
    at = min(listed.modified for listed in store.bucket.list(LATEST.prefix))
    before = at - datetime.timedelta(seconds=1)
    stored = {VersionId("m", digest): time for digest, time in ((A, before), (B, before), (C, at))}
    found = first_moves(store, "m", stored.get)
    assert {version: move.parent for version, move in found.items()} == {VersionId("m", C): B}
    assert first_moves(store, "m", lambda _: None) == {}


def test_a_promotion_is_not_the_first_move_where_another_log_may_lack_that(directory_store: Store) -> None:
    store = directory_store
    entry(store, 7, D, 7)
    entry(store, 1, C, 1, STABLE)
    entry(store, 2, B, 2, STABLE)
    entry(store, 3, A, 3, STABLE)
    trimmed_until = RefLog(store, LATEST).listed()[0].modified
    hours_before = datetime.datetime(2025, 12, 31, tzinfo=datetime.UTC)
    stored = {
        VersionId("m", A): trimmed_until,  # too young for a move that is trimmed
        VersionId("m", B): hours_before,
        VersionId("m", C): datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),  # a second before its move
    }
    found = first_moves(store, {"m"}, stored.get)
    assert {version.digest: (move.by, move.parent) for version, move in found.items()} == {
        A: ("by 3", B),
        C: ("by 1", None),
    }
    copied = dict.fromkeys(stored, trimmed_until - datetime.timedelta(seconds=1))
    assert {version.digest for version in first_moves(store, {"m"}, copied.get)} == {A, B, C}


def test_an_entry_names_the_program_beside_its_author(store: Store) -> None:
    log = RefLog(store, LATEST)
    made = log.append(A, "test", "ann (cas 7)")
    assert (made.by, made.program, made.signature) == ("ann (cas 7)", PROGRAM, f"ann (cas 7) ({PROGRAM})")
    assert log.current() == made
    entry(store, 2, B, 2)
    key = f"{LATEST.prefix}/{log.names()[-1]}"
    before = json.loads(bytes(store.bucket.get(key, 10_000))) | {"by": "ann@host"}
    store.bucket.put(f"{LATEST.prefix}/00000003-{'0' * 16}.json", json.dumps(before).encode(), Kind.DOCUMENT)
    of_before = RefLog(store, LATEST).current()
    assert of_before and (of_before.by, of_before.program) == ("ann@host", "")
