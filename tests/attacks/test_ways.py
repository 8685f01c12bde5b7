"""Every way from a name to a version refuses a tag that an intruder moved, and nothing is written because of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import cas
from cas import refs
from cas.bucket import open_bucket
from cas.errors import SignatureError
from cas.ops.serve.catalog import Catalog
from cas.store.store import open_store
from tests.attacks.shop import GOOD, SIGNING, Intruder, Reader, Shop
from tests.support.in_process import call_cas
from tests.support.models import REPO, read_tree

COMMANDS = (
    ("restore", "m:latest", "--to", "{folder}/files"),
    ("env", "m:latest"),
    ("verify", "m:latest"),
    ("lock", "m:latest", "-o", "{folder}/m.json"),
    ("export", "m:latest", "-o", "{folder}/m.cas"),
    ("copy", "m:latest", "{folder}/copy"),
    ("tag", "m:latest", "prod"),
    ("pin", "eu-prod", "m:latest"),
    ("derive", "m:latest", "--cast", "float16", "--tag", "half"),
    ("rollback", "m:prod", "--to", "m:latest"),
)

CALLS: dict[str, Callable[[Path], object]] = {
    "cas.restore": lambda folder: cas.restore("m:latest", cache_dir=folder / "cache"),
    "cas.open_file": lambda folder: cas.open_file("m:latest", "config.json"),
    "cas.load_tensors": lambda folder: cas.load_tensors("m:latest", framework="numpy"),
    "cas.write_lock": lambda folder: cas.write_lock("m:latest", None, folder / "m.json"),
    "cas.derive": lambda folder: cas.derive("m:latest", cast="float16", tags=["half"]),
    "cas.view": lambda folder: cas.view("m:latest", cache_dir=folder / "hub").__enter__(),
    "refs.resolve": lambda folder: refs.resolve(open_store(), "m"),
}


@pytest.fixture
def moved(shop: Shop, intruder: Intruder) -> Shop:
    """The store after an intruder moved the tag m:latest."""
    intruder.append("m:latest", intruder.evil)
    return shop


def test_every_command_refuses_the_tag(moved: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    before = {entry.key: entry.tag for entry in moved.admin.list("")}
    for words in COMMANDS:
        done = call_cas(*(word.format(folder=tmp_path) for word in words))
        assert done.returncode == 8, (words, done.stderr)
        assert "m:latest in s3://" in done.stderr, words
        assert "has no signature" in done.stderr, words
    after = {entry.key: entry.tag for entry in moved.admin.list("") if not entry.key.startswith("leases/")}
    assert after == before
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "format.json"]
    copied = open_bucket(str(tmp_path / "copy"))
    assert copied.list("refs") == []


def test_lists_show_that_the_tag_does_not_count_and_what_else_there_is(moved: Shop, intruder: Intruder) -> None:
    for words in (("ls",), ("ls", "m"), ("history", "m:latest"), ("tree", "m"), ("pins",), ("du",)):
        done = call_cas(*words)
        assert done.returncode == 0, (words, done.stderr)
    listed = json.loads(call_cas("--json", "ls", "m").stdout)
    tags = {version["digest"]: version["tags"] for version in listed}
    assert tags[f"blake3:{moved.good}"] == ["prod"]
    assert tags[f"blake3:{intruder.evil}"] == []


def test_every_function_refuses_the_tag(moved: Shop, tmp_path: Path) -> None:
    for name, call in CALLS.items():
        with pytest.raises(SignatureError, match=r"m:latest .*has no signature"):
            call(tmp_path)
        assert not [path for path in tmp_path.rglob("*") if path.is_file()], name
    fsspec = pytest.importorskip("fsspec")
    with pytest.raises(SignatureError, match=r"m:latest .*has no signature"):
        fsspec.open("cas://m:latest/config.json", skip_instance_cache=True).open()


def test_what_was_pinned_by_the_other_ways_still_runs(moved: Shop, reader: Reader, tmp_path: Path) -> None:
    exact = f"m@blake3:{moved.good}"
    for ref in ("m:prod", "pin:eu-prod/m", exact):
        done = reader.restore(ref)
        assert (done.code, done.files) == (0, GOOD), done.error
    lock = tmp_path / "m.json"
    cas.write_lock(exact, None, lock)
    done = call_cas("restore", "--lock", str(lock), "--to", str(tmp_path / "files"))
    assert done.returncode == 0, done.stderr
    assert {name: data for name, data in read_tree(tmp_path / "files").items() if name in GOOD} == GOOD


@pytest.mark.parametrize("tags", [("m:latest",), ("m:latest", "m:old")], ids=["alone", "before-an-older-release"])
def test_a_server_withholds_the_repo_of_the_tag_and_serves_no_other_in_its_place(
    tags: tuple[str, ...], moved: Shop
) -> None:
    catalog = Catalog(open_store(), tags=tags, with_pulled=True)
    for revision in (None, "main"):
        with pytest.raises(SignatureError, match=r"m:latest .*has no signature"):
            catalog.find("model", REPO, revision)
    assert [each for each in catalog.repos() if each.reference == "m:latest"] == []


@pytest.mark.parametrize("digest", ["evil", None], ids=["moved", "removed"])
def test_a_deployment_whose_pin_was_moved_runs_neither_that_nor_latest(
    digest: str | None, intruder: Intruder, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    intruder.append("pin:eu-prod/m", intruder.evil if digest else None)
    monkeypatch.setenv("CAS_DEPLOYMENT", "eu-prod")
    for model in ("m", None):
        with pytest.raises(SignatureError, match="pin:eu-prod/m"):
            cas.choose({"CAS_DEPLOYMENT": "eu-prod"}, model=model, store=None)
    done = call_cas("restore", "--to", str(reader.folder / "files"))
    assert done.returncode == 8, done.stderr
    assert not (reader.folder / "files").exists()


def test_the_first_digits_of_a_digest_are_no_way_around(moved: Shop, intruder: Intruder, reader: Reader) -> None:
    """Digits that two versions can share are a name: one for what a signed entry named, whatever begins so, too."""
    done = reader.restore(f"m@{intruder.evil[:16]}")
    assert done.code == 8, done.error
    assert "64" in done.error
    assert reader.restore(f"m@{moved.good[:16]}").code == 0


def test_a_mirror_keeps_what_it_has_and_names_nothing_that_is_unsigned(moved: Shop, tmp_path: Path) -> None:
    backup = str(tmp_path / "backup")
    moved.reset()
    assert call_cas("mirror", "m", backup).returncode == 0
    intruder = moved.intruder()
    intruder.append("m:latest", intruder.evil)
    intruder.append("m:prod", None)
    done = call_cas("mirror", "m", backup, "--delete")
    assert done.returncode == 8, done.stderr
    assert "m:latest" in done.stderr
    for ref in ("m:latest", "m:prod", "pin:eu-prod/m"):
        kept = call_cas("restore", ref, "--to", str(tmp_path / ref.replace("/", "-")), env={"CAS_STORE": backup})
        assert kept.returncode == 0, kept.stderr
        assert read_tree(tmp_path / ref.replace("/", "-"))["model.bin"] == GOOD["model.bin"]


def test_an_archive_of_an_unsigned_tag_is_not_imported_under_its_name(moved: Shop, tmp_path: Path) -> None:
    archive = str(tmp_path / "m.cas")
    with pytest.MonkeyPatch.context() as patch:
        for name in SIGNING:
            patch.delenv(name)
        assert call_cas("export", "m:latest", "-o", archive).returncode == 0
    moved.reset()
    done = call_cas("import", archive, env={"CAS_STORE_NAME": moved.url})
    assert done.returncode == 8, done.stderr
    assert refs.resolve(open_store(), "m:latest").digest == moved.good
