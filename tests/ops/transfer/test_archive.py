"""Export and import: one file, the same for the same version, and nothing named unless all of it is right."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

import cas
from cas.errors import CasError, ChunkMissing, FormatError, InputError, IntegrityError
from cas.formats.archive import END, header, padding
from cas.formats.digest import hex_of
from cas.ops.transfer.copier import copy
from cas.ops.transfer.exporter import export
from cas.ops.transfer.importer import import_archive
from cas.ops.transfer.wanted import naming
from cas.store import layout
from cas.store.layout import VersionId, chunk_key
from cas.store.store import Store, open_store
from tests.support.damage import edit, flip
from tests.support.in_process import call_cas, cas_json
from tests.support.models import read_tree, snapshot
from tests.support.processes import Mount, cas_command
from tests.support.transfer import CHUNK, FILES, NEXT, filled, objects


def exported(store: Store, *references: str, **options: bool) -> bytes:
    """The archive of some versions."""
    out = io.BytesIO()
    export(references or ("m",), out, store, **options)  # type: ignore[arg-type]
    return out.getvalue()


def imported(archive: bytes, url: str | Path, **options: object) -> cas.CasError | object:
    """What an import of these bytes did."""
    return import_archive(io.BytesIO(archive), "model.cas", str(url), **options)  # type: ignore[arg-type]


def is_empty(url: str | Path) -> bool:
    """Whether nothing in a store is named, and no manifest is there."""
    bucket = open_store(str(url)).bucket
    return not bucket.list("refs") and not bucket.list(layout.MANIFESTS)


def packed(members: dict[str, bytes]) -> bytes:
    """An archive with these members."""
    made = b"".join(header(name, len(data)) + data + padding(len(data)) for name, data in members.items())
    return made + END


def unpacked(archive: bytes) -> dict[str, bytes]:
    """The members of an archive, as Python's own reader of tar files finds them."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar.getmembers()}  # type: ignore[union-attr]


def test_a_version_goes_out_and_comes_in_as_it_was(store: Store, tmp_path: Path) -> None:
    filled(store)
    archive = exported(store)
    target = open_store(str(tmp_path / "other"))
    imported(archive, target.url)
    assert objects(target) == objects(store)
    assert read_tree(snapshot(cas.restore("m", target, cache_dir=tmp_path / "hub"), "org/m")) == FILES
    (mine, theirs) = (cas_json(each, "show", "m") for each in (store, target))
    assert (mine["created"], mine["digest"]) == (theirs["created"], theirs["digest"])


def test_the_same_version_is_the_same_file(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    archive = exported(directory_store)
    assert exported(directory_store) == archive
    copy(["m"], str(tmp_path / "copy"), directory_store)
    version = str(VersionId("m", hex_of(next(data for key, data in unpacked(archive).items() if "manifests" in key))))
    assert exported(open_store(str(tmp_path / "copy")), version) == exported(directory_store, "m", named_too=False)


def test_members_stand_in_the_order_in_which_a_pipe_needs_them(directory_store: Store) -> None:
    filled(directory_store)
    filled(directory_store, NEXT, model="n")
    names = list(unpacked(exported(directory_store, "n", "m")))
    kinds = [name.partition("/")[0] for name in names]
    assert kinds == ["format.json", "manifests", "manifests", *["chunks"] * (len(kinds) - 5), "refs", "refs"]
    assert len(set(names)) == len(names) == 5 + len(objects(directory_store)) - 2


@pytest.mark.parametrize("way", ["unpacked by tar", "packed by tar"])
def test_any_tar_reads_and_writes_archives(directory_store: Store, tmp_path: Path, way: str) -> None:
    filled(directory_store)
    if way == "unpacked by tar":
        (tmp_path / "unpacked").mkdir()
        subprocess.run(["tar", "xf", "-", "-C", tmp_path / "unpacked"], input=exported(directory_store), check=True)
        target = open_store(str(tmp_path / "unpacked"))
    else:
        made = subprocess.run(
            ["tar", "cf", "-", "-C", directory_store.url, "."], capture_output=True, check=True
        ).stdout
        target = open_store(str(tmp_path / "other"))
        imported(made, target.url)
    assert objects(target) == objects(directory_store)
    assert read_tree(snapshot(cas.restore("m", target, cache_dir=tmp_path / "hub"), "org/m")) == FILES


def test_only_what_the_store_lacks_is_sent(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    archive = exported(directory_store)
    filled(directory_store, NEXT)
    target = str(tmp_path / "other")
    imported(archive, target)
    done = import_archive(io.BytesIO(exported(directory_store)), "next.cas", target)
    assert (done.copied_chunks, done.chunks, done.moved) == (3, 13, ("m:latest",))
    again = import_archive(io.BytesIO(exported(directory_store)), "next.cas", target)
    assert (again.copied_chunks, again.moved) == (0, ())


def test_an_archive_that_is_cut_short_names_nothing(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    archive = exported(directory_store)
    for at in (*range(1, len(archive) - 1024, 50_021), len(archive) - 1024, len(archive) - 513):
        with pytest.raises(IntegrityError, match="cut short"):
            imported(archive[:at], tmp_path / "other")
        assert is_empty(tmp_path / "other")
    done = import_archive(io.BytesIO(archive), "model.cas", str(tmp_path / "other"))
    assert done.copied_chunks == 0, "and what came before the last cut is there"


def changed(archive: bytes, change: Callable[[dict[str, bytes]], None]) -> bytes:
    members = unpacked(archive)
    change(members)
    return packed(members)


def _flip(members: dict[str, bytes]) -> None:
    key = chunk_key(hex_of(FILES["model.bin"][:CHUNK]))
    members[key] = bytes(flip(bytearray(members[key])))


def _other_chunk(members: dict[str, bytes]) -> None:
    first, second = (chunk_key(hex_of(FILES["model.bin"][at : at + CHUNK])) for at in (0, CHUNK))
    members[first] = members[second]


def _lacking(members: dict[str, bytes]) -> None:
    del members[chunk_key(hex_of(FILES["model.bin"][:CHUNK]))]


def _other_manifest(members: dict[str, bytes]) -> None:
    key = next(key for key in members if key.startswith("manifests"))
    members[key] = members[key].replace(b'"org/m"', b'"org/x"')


def _other_model(members: dict[str, bytes]) -> None:
    key = next(key for key in members if key.startswith("manifests"))
    members[key.replace("/m/", "/n/")] = members.pop(key)


def _too_large(members: dict[str, bytes]) -> None:
    members[chunk_key(hex_of(FILES["model.bin"][:CHUNK]))] = bytes(1 << 20)


def _no_format(members: dict[str, bytes]) -> None:
    del members["format.json"]


def _newer_format(members: dict[str, bytes]) -> None:
    members["format.json"] = b'{"format":"cas","version":2}'


def _bad_ref(members: dict[str, bytes]) -> None:
    members[next(key for key in members if key.startswith("refs"))] = b"{}"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (_flip, IntegrityError),
        (_other_chunk, IntegrityError),
        (_lacking, IntegrityError),
        (_other_manifest, IntegrityError),
        (_other_model, FormatError),
        (_too_large, FormatError),
        (_no_format, FormatError),
        (_newer_format, FormatError),
        (_bad_ref, FormatError),
    ],
)
def test_nothing_of_a_damaged_or_hostile_archive_is_named(
    directory_store: Store, tmp_path: Path, change: Callable[[dict[str, bytes]], None], error: type[CasError]
) -> None:
    filled(directory_store)
    with pytest.raises(error, match=r"model\.cas|manifest"):
        imported(changed(exported(directory_store), change), tmp_path / "other")
    assert is_empty(tmp_path / "other")


def test_keys_of_nothing_of_ours_are_left_out(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)

    def add(members: dict[str, bytes]) -> None:
        members |= {
            "../outside": b"x",
            "/etc/passwd": b"x",
            "leases/0123456789abcdef-000001.json": b"{}",
            "letter": b"",
        }

    target = open_store(str(tmp_path / "a/other"))
    imported(changed(exported(directory_store), add), target.url)
    assert objects(target) == objects(directory_store)
    assert {entry.key.partition("/")[0] for entry in target.bucket.list("")} == {
        "chunks", "format.json", "leases", "manifests", "refs"
    }  # fmt: skip
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["other"]
    assert not [entry for entry in target.bucket.list("leases") if "0123456789abcdef" in entry.key]


def test_damage_in_the_store_ends_an_export(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    digest = hex_of(FILES["model.bin"][CHUNK : 2 * CHUNK])
    (tmp_path / "model.cas").write_bytes(b"an older archive")
    edit(directory_store, digest, flip)
    with pytest.raises(IntegrityError, match=digest):
        export(["m"], tmp_path / "model.cas", directory_store)
    directory_store.bucket.delete(chunk_key(digest))
    with pytest.raises(ChunkMissing, match=digest):
        export(["m"], tmp_path / "model.cas", directory_store)
    assert (tmp_path / "model.cas").read_bytes() == b"an older archive"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.cas", "store"]


def test_a_disk_that_is_too_small_is_told_before_it_is_full(
    directory_store: Store, tmp_path: Path, mount: Mount
) -> None:
    filled(directory_store)
    (tmp_path / "small").mkdir()
    small = mount(tmp_path / "small", "-t", "tmpfs", "-o", "size=400k", "none")
    done = call_cas("--store", directory_store.url, "export", "m", "-o", str(small / "model.cas"))
    assert (done.returncode, list(small.iterdir())) == (7, [])
    assert "free there: choose another with -o" in done.stderr


def test_names_of_an_import(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    archive = exported(directory_store)
    done = import_archive(io.BytesIO(archive), "model.cas", str(tmp_path / "a"), rule=naming(["prod"], ["eu"]))
    assert sorted(done.moved) == ["m:prod", "pin:eu/m"]
    assert import_archive(io.BytesIO(archive), "model.cas", str(tmp_path / "b"), rule=naming(keep=False)).moved == ()
    first = str(VersionId("m", cas_json(directory_store, "show", "m")["digest"].rpartition(":")[2]))
    filled(directory_store, NEXT)
    with pytest.raises(InputError, match="m:prod would name both"):
        imported(exported(directory_store, "m", first), tmp_path / "c", rule=naming(["prod"]))
    assert not (tmp_path / "c/chunks").exists(), "before anything is sent"


def test_the_commands(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    file = str(tmp_path / "model.cas")
    done = cas_json(directory_store, "export", "m", "-o", file)
    assert (done["size"], done["refs"], done["chunks"]) == (Path(file).stat().st_size, ["m:latest"], 13)
    target = str(tmp_path / "other")
    dry = call_cas("--store", target, "import", "-n", file)
    assert "would copy" in dry.stderr and not Path(target).exists()
    assert cas_json(target, "import", file)["moved"] == ["m:latest"]
    for words, code in (
        (("import", str(tmp_path / "none.cas")), 2),
        (("import", str(tmp_path)), 2),
        (("export", "m", "-o", str(tmp_path)), 7),
        (("export", "m", "-o", str(tmp_path / "none/model.cas")), 7),
        (("--json", "export", "m", "-o", "-"), 2),
        (("export", "m"), 2),
        (("export", "n", "-o", file), 3),
    ):
        assert call_cas("--store", directory_store.url, *words).returncode == code, words


def test_through_a_pipe(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    target = str(tmp_path / "other")
    reader = subprocess.Popen(
        cas_command("-q", "--store", target, "import", "-"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert reader.stdin
    writer = subprocess.run(
        cas_command("-q", "--store", directory_store.url, "export", "m", "-o", "-"), stdout=reader.stdin, check=False
    )
    printed, _ = reader.communicate()
    assert (writer.returncode, reader.returncode, printed.decode()[:9]) == (0, 0, "m@blake3:")
    assert objects(open_store(target)) == objects(directory_store)
