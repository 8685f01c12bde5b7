"""A mirror keeps tags and pins equal, and with them what they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas import events
from cas.bucket import Kind
from cas.errors import ChunkMissing, NotFoundError
from cas.formats.digest import hex_of
from cas.ops.transfer.mirror import mirror
from cas.refs import reflog
from cas.store.layout import LEASES, chunk_key
from cas.store.store import Store, open_store
from tests.support.buckets import RecordingBucket
from tests.support.in_process import call_cas, cas_json
from tests.support.transfer import CHUNK, FILES, NEXT, beside, filled, objects


def named(store: Store) -> dict[str, str | None]:
    """What every tag and pin of a store names."""
    kinds = (reflog.current(store, "tags"), reflog.current(store, "pins"))
    return {str(ref): digest for found in kinds for ref, digest in found.items()}


def test_refs_become_equal_and_stay_so_at_no_cost(store: Store, tmp_path: Path) -> None:
    filled(store)
    filled(store, NEXT, model="n")
    assert cas_json(store, "pin", "eu", "m")["moved"] == ["pin:eu/m"]
    target = open_store(beside(store, tmp_path))
    assert len(mirror([], target, store).versions) == 2
    assert named(target) == named(store)
    assert objects(target) == objects(store)
    watched = RecordingBucket(target.bucket)
    again = mirror([], Store(watched), store)
    assert (again.versions, again.moved, watched.written) == ((), (), [])


def test_moves_and_removals_follow_and_what_is_only_there_stays(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    cas_json(directory_store, "tag", "m", "prod", "old")
    target = open_store(str(tmp_path / "copy"))
    mirror([], target, directory_store)
    filled(directory_store, NEXT)
    cas_json(target, "tag", "m:prod", "theirs")
    cas_json(directory_store, "untag", "m:old")
    done = mirror([], target, directory_store)
    assert (done.copied_chunks, done.moved, done.removed, done.extra) == (3, ("m:latest",), ("m:old",), ("m:theirs",))
    assert named(target) == {**named(directory_store), "m:theirs": named(target)["m:prod"]}
    cas_json(target, "tag", "m:prod", "latest")
    done = mirror([], target, directory_store, delete=True)
    assert (done.moved, done.removed) == (("m:latest",), ("m:theirs",))
    assert named(target) == named(directory_store)


def test_only_models_with_a_prefix(directory_store: Store, tmp_path: Path) -> None:
    for model in ("tts-a", "tts-b", "llm"):
        filled(directory_store, model=model)
    target = open_store(str(tmp_path / "copy"))
    filled(target, model="mine")
    done = mirror(["tts-"], target, directory_store, delete=True)
    assert (done.moved, done.extra) == (("tts-a:latest", "tts-b:latest"), ())
    assert sorted(named(target)) == ["mine:latest", "tts-a:latest", "tts-b:latest"]
    with pytest.raises(NotFoundError, match="begins with, or matches, x-"):
        mirror(["x-"], target, directory_store)


def test_a_ref_that_cannot_be_read_hides_no_other(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    filled(directory_store, FILES, model="n")
    (entry,) = directory_store.bucket.list("refs/tags/m/latest")
    directory_store.bucket.put(entry.key, b"{", Kind.DOCUMENT, overwrite=True)
    told: list[str] = []
    target = open_store(str(tmp_path / "copy"))
    listen = lambda event: told.append(event.text) if isinstance(event, events.Warned) else None
    mirror([], target, directory_store, on_event=listen)
    assert sorted(named(target)) == ["n:latest"]
    assert told and told[0].startswith("m:latest is left out")


def test_a_damaged_version_keeps_no_other_out_and_is_an_error_in_the_end(
    directory_store: Store, tmp_path: Path
) -> None:
    filled(directory_store)
    filled(directory_store, {"n.bin": b"n"}, model="n")
    directory_store.bucket.delete(chunk_key(hex_of(FILES["model.bin"][:CHUNK])))
    target = open_store(str(tmp_path / "copy"))
    filled(target, {"t.bin": b"t"}, model="theirs")
    told: list[str] = []
    listen = lambda event: told.append(event.text) if isinstance(event, events.Warned) else None
    with pytest.raises(ChunkMissing):
        mirror([], target, directory_store, delete=True, on_event=listen)
    assert sorted(named(target)) == ["n:latest", "theirs:latest"], "and nothing is removed"
    assert [text for text in told if text.endswith("is not copied (m:latest)")]


def test_the_command(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    target = str(tmp_path / "copy")
    dry = call_cas("--store", directory_store.url, "mirror", "-n", target)
    assert "would copy" in dry.stderr and not Path(target).exists()
    assert call_cas("--store", directory_store.url, "mirror", target).returncode == 0
    filled(open_store(target), NEXT, model="theirs")
    done = call_cas("--store", directory_store.url, "mirror", target)
    assert f"only in {target}: theirs:latest" in done.stderr
    assert f"{target} is equal to {directory_store.url}: nothing to copy" in done.stderr
    assert open_store(target).bucket.list(LEASES)
    dry = call_cas("--store", directory_store.url, "mirror", "-n", "--delete", target)
    assert f"to {target} and remove theirs:latest; nothing was written" in dry.stderr
    assert "theirs:latest" in named(open_store(target))
