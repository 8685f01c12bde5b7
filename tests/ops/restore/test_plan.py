"""A plan is a value: what is here decides what is fetched, copied and written."""

from __future__ import annotations

import json
from pathlib import Path

import cas
from cas.config import cache_dirs
from cas.events import ignore
from cas.formats.manifest import Manifest
from cas.host import Limits
from cas.local.scan import scan
from cas.local.targets import ChunkLocation, targets_of
from cas.ops.restore.plan import Copy, Destination, Fetch, PendingFile, Plan, make_plan, part_file_name
from cas.store.store import Store
from tests.support.in_process import call_cas
from tests.support.models import KIB, REPO, noise, put_model

HEAD, TAIL, OTHER = noise(64 * KIB, 1), noise(10 * KIB, 2), noise(64 * KIB, 3)


def plan_for(manifest: Manifest, cache: Path, *, rehash: bool = False, owner: str | None = None) -> Plan:
    wanted = targets_of(manifest, cache_dirs(cache))
    return make_plan(wanted, scan(wanted, Limits(), ignore, rehash=rehash), owner)


def test_a_fresh_cache_gets_every_chunk_once(directory_store: Store, tmp_path: Path) -> None:
    manifest = put_model(directory_store, {REPO: {"a": HEAD + TAIL, "b": OTHER, "empty": b""}})
    plan = plan_for(manifest, tmp_path)
    a, b, empty = plan.targets
    assert plan.pending_files == (PendingFile(a, None, 2), PendingFile(b, None, 1), PendingFile(empty, None, 0))
    assert plan.fetches == (
        Fetch(b.chunks[0], (Destination(1, 0),)),  # of the smallest file, which can then be used
        Fetch(a.chunks[0], (Destination(0, 0),)),
        Fetch(a.chunks[1], (Destination(0, 64 * KIB),)),
    )
    assert plan.copies == ()
    assert plan.needed_space == {a.root: 138 * KIB}
    assert plan.fetch_bytes == plan.total == 138 * KIB


def test_what_files_and_repos_share_is_fetched_once(directory_store: Store, tmp_path: Path) -> None:
    manifest = put_model(
        directory_store,
        {REPO: {"a": HEAD + TAIL, "twin": HEAD + TAIL, "b": HEAD + OTHER}, "org/second": {"a": HEAD + TAIL}},
        {"torch/x.pth": HEAD},
    )
    plan = plan_for(manifest, tmp_path / "hub")
    a, b, second, plain_file = plan.targets
    assert [name[-1] for name in a.snapshot_paths] == ["a", "twin"]
    assert plan.fetches == (
        Fetch(a.chunks[0], (Destination(0, 0), Destination(1, 0), Destination(2, 0), Destination(3, 0))),
        Fetch(a.chunks[1], (Destination(0, 64 * KIB), Destination(2, 64 * KIB))),
        Fetch(b.chunks[1], (Destination(1, 64 * KIB),)),
    )
    assert plan.needed_space == {a.root: 202 * KIB, second.root: 74 * KIB, plain_file.root: 64 * KIB}
    assert plain_file.path == tmp_path / "torch/x.pth"


def test_a_complete_cache_needs_nothing(directory_store: Store, tmp_path: Path) -> None:
    manifest = put_model(directory_store, {REPO: {"a": HEAD, "empty": b""}}, {"torch/p": TAIL})
    cas.restore("m", directory_store, cache_dir=tmp_path / "home/hub")
    for rehash in (False, True):
        plan = plan_for(manifest, tmp_path / "home/hub", rehash=rehash)
        assert (plan.pending_files, plan.fetches, plan.copies, plan.needed_space) == ((), (), (), {})
        assert [list(stamps) for stamps in plan.complete] == [[target.components] for target in plan.targets]


def test_a_damaged_file_keeps_its_good_chunks(directory_store: Store, tmp_path: Path) -> None:
    manifest = put_model(directory_store, {REPO: {"a": HEAD + OTHER + TAIL}})
    cas.restore("m", directory_store, cache_dir=tmp_path)
    (target,) = targets_of(manifest, cache_dirs(tmp_path))
    data = bytearray(target.path.read_bytes())
    data[64 * KIB] ^= 1
    target.path.write_bytes(data)
    plan = plan_for(manifest, tmp_path)
    assert plan.pending_files[0].part_file is None
    assert plan.fetches == (Fetch(target.chunks[1], (Destination(0, 64 * KIB),)),)
    assert plan.copies == (
        Copy(target.chunks[0], ChunkLocation(target.path, 0, target.root), (Destination(0, 0),)),
        Copy(target.chunks[2], ChunkLocation(target.path, 128 * KIB, target.root), (Destination(0, 128 * KIB),)),
    )


def test_a_part_file_is_gone_on_with_unless_it_may_be_somebodys(directory_store: Store, tmp_path: Path) -> None:
    manifest = put_model(directory_store, {REPO: {"a": HEAD + OTHER}})
    (target,) = targets_of(manifest, cache_dirs(tmp_path))
    parts = target.root / ".cas/parts"
    parts.mkdir(parents=True)
    (less, more) = (part_file_name(target.content, "they", token) for token in ("1", "2"))
    (parts / less).write_bytes(bytes(128 * KIB))
    (parts / more).write_bytes(bytes(64 * KIB) + OTHER)
    (parts / part_file_name("f" * 64, "they", "3")).write_bytes(HEAD)

    plan = plan_for(manifest, tmp_path)
    assert plan.pending_files == (PendingFile(target, more, 1),)
    assert plan.fetches == (Fetch(target.chunks[0], (Destination(0, 0),)),)
    assert plan.needed_space == {target.root: 64 * KIB}

    plan = plan_for(manifest, tmp_path, owner="we")
    assert plan.pending_files == (PendingFile(target, None, 2, base=parts / more, shared=64 * KIB),)
    assert plan.copies == (
        Copy(target.chunks[1], ChunkLocation(parts / more, 64 * KIB, target.root), (Destination(0, 64 * KIB),)),
    )
    assert plan.needed_space == {target.root: 128 * KIB}


def test_one_part_file_serves_one_of_two_files_with_its_content(directory_store: Store, tmp_path: Path) -> None:
    manifest = put_model(
        directory_store,
        {},
        {f"torch/{name}": data for name, data in zip("xyef", (HEAD + TAIL, HEAD + TAIL, b"", b""), strict=True)},
    )
    wanted = targets_of(manifest, cache_dirs(tmp_path / "hub"))
    parts = tmp_path / ".cas/parts"
    parts.mkdir(parents=True)
    full, empty = (part_file_name(wanted[at].content, "they", "1") for at in (0, 2))
    (parts / full).write_bytes(HEAD)
    (parts / empty).touch()
    plan = plan_for(manifest, tmp_path / "hub")
    assert [pending.part_file for pending in plan.pending_files] == [full, None, empty, None]

    cas.restore("m", directory_store, cache_dir=tmp_path / "hub")
    assert [(tmp_path / "torch" / name).read_bytes() for name in "xyef"] == [HEAD + TAIL, HEAD + TAIL, b"", b""]


def test_a_dry_run_tells_the_bytes_and_changes_nothing(directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {REPO: {"a": HEAD + TAIL, "b": HEAD}})
    ran = call_cas(
        "--store", directory_store.url, "--json", "restore", "m", "-n", "--cache-dir", str(tmp_path / "cache")
    )
    told = json.loads(ran.stdout)
    assert (told["total"], told["fetched"], told["changed"]) == (138 * KIB, 74 * KIB, True)
    assert "nothing was changed" in ran.stderr
    assert not (tmp_path / "cache").exists()
