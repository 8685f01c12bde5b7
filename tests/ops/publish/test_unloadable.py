"""What no loader can load is refused before anything is sent, and what is no content of a repo is left out."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest

import cas
from cas import events, refs
from cas.errors import IntegrityError
from cas.store.store import Store
from tests.support.hub import FILES, Site
from tests.support.models import REPO, publish_tree, write_tree
from tests.support.weights import archive, tensors

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"1" * 64 + b"\nsize 1364000000\n"
PAGE = b"\n <!DOCTYPE html>\n<html><head><title>Sign in</title></head>" + b"<p>x</p>" * 1000
OF_TWO_DISKS = struct.pack("<4sIQI", b"PK\6\7", 1, 0, 2)  # the locator of zip64, APPNOTE.TXT 4.3.15


def paths(store: Store | str) -> list[str]:
    opened = cas.open_store(store) if isinstance(store, str) else store
    return [file.path for file in refs.resolve(opened, "m").manifest.all_files()]


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("model.safetensors", POINTER, "pointer of Git LFS"),
        ("image.png", POINTER, "pointer of Git LFS"),
        ("sub/model.safetensors", tensors(9000)[:-1], "its tensors take up"),
        ("model.safetensors", tensors(9000)[:50], "its header is longer than the file"),
        ("model.SAFETENSORS", tensors(9000) + b"x", "its tensors take up"),
        ("model.safetensors", b"", "is empty"),
        ("pytorch_model.bin", b"", "is empty"),
        ("model.gguf", b"", "is empty"),
        ("config.json", b"", "is empty"),
        ("model.pt", archive()[:-1], "has no end"),
        ("voices.npz", archive()[:100], "has no end"),
        ("model.pt", archive()[:-22] + OF_TWO_DISKS + archive()[-22:], "cannot be read as one: .*multiple disks"),
        ("pytorch_model.bin", PAGE, "web page"),
        ("model.gguf", b"\xef\xbb\xbf<html>", "web page"),
        ("model.onnx", b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "web page"),
        ("vocab.txt", b"../../blobs/" + b"a" * 64, "text of a symlink"),
        ("model.bin", POINTER.replace(b"\n", b"\r\n"), "pointer of Git LFS"),
        ("model.onnx_data", b"\xef\xbb\xbf" + POINTER.replace(b"git-lfs.g", b"hawser.g"), "pointer of Git LFS"),
        ("model.pt", PAGE.decode().encode("utf-16"), "web page"),
        ("model.bin", b"<center><h1>502 Bad Gateway</h1></center>", "web page"),
        ("model.ckpt", b"Entry not found", "what a server says"),
        ("model.gguf", b"Found. Redirecting to https://cdn-lfs.hf.co/x?Signature=1", "what a server says"),
        ("model.pth", b'{"error":"Invalid username or password."}', "what a server says"),
        ("model.bin", b"404: Not Found", "what a server says"),
    ],
)
def test_a_file_that_no_loader_can_load(
    directory_store: Store, tmp_path: Path, name: str, data: bytes, told: str
) -> None:
    folder = write_tree(tmp_path / "weights", {"good.bin": b"good", name: data})
    for dry_run in (True, False):
        with pytest.raises(IntegrityError, match=told) as raised:
            publish_tree(directory_store, folder, dry_run=dry_run)
        assert str(folder / name) in str(raised.value)
        assert "nothing was published" in str(raised.value)
    assert directory_store.digests("m") == []
    cas.publish("m", cas.Source.from_folder(folder, REPO, ["good.bin"]), directory_store)
    assert paths(directory_store) == ["good.bin"]


def test_files_that_only_look_odd_are_taken(directory_store: Store, tmp_path: Path) -> None:
    files = {
        "__init__.py": b"",
        "empty.txt": b"",
        "README.md": b"<!doctype html>",
        "index.html": PAGE,
        "data.zip.001": archive()[:100],
        "model.safetensors": tensors(9000, "{" * 5000),
        "none.safetensors": b"\x02" + bytes(7) + b"{}",
        "model.pt": archive(),
        "config.json": b'{"error": "a setting of this name"}',
        "notes.txt": b"Entry not found",
        "few.bin": b"Unauthorized copies",
        "old.pt": b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
    }
    publish_tree(directory_store, write_tree(tmp_path / "weights", files))
    assert paths(directory_store) == sorted(files)


def test_plain_files_are_checked_as_well(directory_store: Store, tmp_path: Path) -> None:
    os.environ["HF_HOME"] = str(write_tree(tmp_path / "hf", {"torch/hub/net.pth": PAGE}))
    source = tmp_path / "source.toml"
    source.write_text('files = ["torch/hub/*"]')
    with pytest.raises(IntegrityError, match="web page"):
        cas.publish("m", cas.Source.from_file(source), directory_store)


@pytest.mark.parametrize("data", [POINTER, PAGE])
def test_a_hub_that_has_a_pointer_or_a_page_as_weights(site: Site, data: bytes) -> None:
    write_tree(site.hub.root / REPO, {"weights.bin": data})
    done = site.cas("publish", "m", "--repo", REPO)
    assert (done.returncode, done.stdout) == (4, ""), done.stderr
    assert "weights.bin" in done.stderr.splitlines()[-1]
    assert not site.store.exists()


def test_git_and_the_clients_own_folder_are_left_out_at_any_depth(directory_store: Store, tmp_path: Path) -> None:
    wanted = {"a.txt": b"a", "sub/.gitignore": b"x", "sub/.cache/other": b"x", "sub/x.git/config": b"x"}
    token = b"[remote]\nurl = https://user:hf_secret@hub/x"
    left_out = {
        ".git/config": token,
        "sub/module/.git": b"gitdir: ../../.git/modules/x",
        "sub/deep/.git/config": token,
        ".cache/huggingface/download/a.metadata": b"x",
        "sub/.cache/huggingface/x": b"x",
        "other/.GIT/config": token,
    }
    folder = write_tree(tmp_path / "weights", {**wanted, **left_out})
    (folder / "linked").mkdir()
    (folder / "linked/.git").symlink_to("/nowhere")
    publish_tree(directory_store, folder)
    assert paths(directory_store) == sorted(wanted)


STRAYS = {".DS_Store": b"\0\0\0\1Bud1", "config.json~": b"{}", "sub/notes.txt": b"mine"}


@pytest.mark.parametrize("how", ["listing", "hub", "hub without a listing"])
def test_what_the_commit_does_not_have_is_not_published_under_it(full: Site, how: str) -> None:
    (snapshot,) = (full.repo / "snapshots").iterdir()
    write_tree(snapshot, STRAYS)
    os.symlink(os.readlink(snapshot / "weights.bin"), snapshot / "weights copy.bin")
    if how == "hub without a listing":
        (full.repo / "trees").rename(full.repo / "old")
        full.env["HF_HUB_DISABLE_XET"] = "1"
    done = full.cas("publish", "m", "--repo", REPO, *["--no-download"] * (how == "listing"))
    assert done.returncode == 0, done.stderr
    assert paths(str(full.store)) == sorted(FILES)
    assert "'.DS_Store' (and 3 more)" in done.stderr
    assert "left out" in done.stderr


def test_a_file_that_was_downloaded_after_a_partial_restore_is_no_stray(full: Site) -> None:
    (listing,) = (full.repo / "trees").iterdir()
    tree = json.loads(listing.read_bytes())
    del tree["files"]["weights.bin"]
    listing.write_text(json.dumps(tree))
    warned: list[events.Event] = []
    source = cas.Source.from_repos([REPO])
    cas.publish("m", source, str(full.store), cache_dir=full.cache, download=False, on_event=warned.append)
    assert paths(str(full.store)) == sorted(FILES)
    assert not [event for event in warned if isinstance(event, events.Warned)]
