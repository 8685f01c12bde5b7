"""Archives without chunks, by other tars, and in the place of what is no file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cas import events, refs
from cas.errors import CacheError
from cas.ops.transfer.exporter import export
from cas.store.store import Store, open_store
from tests.ops.transfer.test_archive import exported, imported, packed, unpacked
from tests.support.transfer import NEXT, filled, objects


def test_an_archive_without_chunks_makes_a_store(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store, {"empty": b""})
    target = open_store(str(tmp_path / "other"))
    imported(exported(directory_store), target.url)
    target.check_format()
    assert objects(target) == objects(directory_store)


def test_of_two_entries_with_one_number_that_counts_which_counts_in_a_store(
    directory_store: Store, tmp_path: Path
) -> None:
    filled(directory_store)
    members = unpacked(exported(directory_store, "m"))
    key, data = members.popitem()
    members[f"{key.rpartition('-')[0]}-ffffffffffffffff.json"] = data
    members[key] = b'{"manifest":null,"created":"2026-01-01T00:00:00Z","by":"b","reason":"r"}'
    assert imported(packed(members), tmp_path / "other").moved == ("m:latest",)  # type: ignore[union-attr]


def test_no_archive_takes_the_place_of_a_pipe_or_a_link(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CacheError, match="write to it with -o -"):
        export(["m"], tmp_path / "pipe", directory_store)
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "link").symlink_to(tmp_path / ("n" * 250))
    export(["m"], tmp_path / "link", directory_store)
    (tmp_path / "loop").symlink_to("loop")
    export(["m"], tmp_path / "loop", directory_store)
    assert (tmp_path / "link").is_symlink() and (tmp_path / ("n" * 250)).read_bytes() == exported(directory_store)


def test_the_error_names_the_archive(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CacheError, match=r"file/model\.cas cannot be written .*choose another"):
        export(["m"], tmp_path / "file/model.cas", directory_store)
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(CacheError, match="archive cannot be written"):
        export(["m"], full, directory_store)


def test_a_tag_that_is_moved_meanwhile_is_in_the_archive(
    directory_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(directory_store)
    resolve = refs.resolve

    def resolve_and_move(store: Store, reference: str, listen: events.Listener) -> refs.Resolved:
        monkeypatch.undo()
        found = resolve(store, reference, listen=listen)
        filled(directory_store, NEXT)
        return found

    monkeypatch.setattr(refs, "resolve", resolve_and_move)
    names = list(unpacked(exported(directory_store)))
    assert [name for name in names if name.startswith("refs/tags/m/latest/")]
    (manifest,) = (name for name in names if name.startswith("manifests"))
    assert resolve(directory_store, "m").digest in manifest
