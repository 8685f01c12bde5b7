"""Models to publish (trees of files, noise, models stored without a publish), and checks of restored ones."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import cas
from cas.formats.digest import hex_of
from cas.formats.frame import Encoder
from cas.formats.manifest import ChunkRef, Manifest, PlainFile, Repo, RepoFile
from cas.local.hf_cache import blob_hash
from cas.refs.reference import Reference, log_of
from cas.store.store import Store

REPO = "org/model"
COMMIT = "c" * 40
KIB = 1024

Files = Mapping[str, bytes]
"""Relative path -> content."""


def write_tree(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files by relative path below `folder`, and return `folder`."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def read_tree(folder: Path) -> dict[str, bytes]:
    """Return every file below `folder` by relative path, read through symlinks."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def publish_tree(store: Store | str, folder: Path, model: str = "m", **options: object) -> cas.Published:
    """Publish a folder as the repo REPO; `options` are those of `cas.publish`."""
    return cas.publish(model, cas.Source.from_folder(folder, REPO), store, **options)  # type: ignore[arg-type]


def snapshot(restored: cas.Restored, repo: str = REPO) -> Path:
    """Return the folder of the snapshot that a restore made of a repo."""
    return Path(restored.snapshots[repo])


def sha256(path: Path) -> str:
    """Return the sha256 of a file's content (64 hex)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def put_model(
    store: Store,
    repos: Mapping[str, Files],
    plain_files: Files | None = None,
    *,
    model: str = "m",
    tag: str = "latest",
    repo_type: str = "model",
    commit: str = COMMIT,
    chunk: int = 64 * KIB,
) -> Manifest:
    """Store files cut every `chunk` bytes, so that few bytes make many chunks, and tag the version.

    Args:
        store: the store, which is created if it does not exist.
        repos: id of each repo -> its files.
        plain_files: the files outside any repo.
        model: the model's name.
        tag: the tag.
        repo_type: the type of all repos, `model`, `dataset` or `space`.
        commit: the commit of all repos (40 hex).
        chunk: bytes of a chunk.
    """
    store.create()
    encoder, seen = Encoder(), set()

    def chunks(data: bytes) -> tuple[ChunkRef, ...]:
        refs = []
        for at in range(0, len(data), chunk):
            piece = data[at : at + chunk]
            refs.append(ChunkRef(hex_of(piece), len(piece)))
            if refs[-1].digest not in seen:
                store.put_frame(refs[-1].digest, encoder.encode(piece))
                seen.add(refs[-1].digest)
        return tuple(refs)

    def repo_file(path: str, data: bytes) -> RepoFile:
        return RepoFile(path, len(data), hashlib.sha256(data).hexdigest(), chunks(data))

    made = Manifest(
        model=model,
        repos=tuple(
            Repo(repo, repo_type, commit, ("main",), tuple(repo_file(path, data) for path, data in files.items()))
            for repo, files in repos.items()
        ),
        files=tuple(PlainFile(path, len(data), chunks(data)) for path, data in (plain_files or {}).items()),
    )
    log_of(store, Reference(model, tag=tag)).append(store.put_manifest(made), reason="test")
    return made


def noise(size: int, seed: int = 0) -> bytes:
    """Return incompressible bytes, the same for the same arguments."""
    return b"".join(hashlib.sha256(b"%d %d" % (seed, at)).digest() for at in range(0, size, 32))[:size]


def check(restored: cas.Restored, files: Files, repo: str = REPO) -> None:
    """Check that the snapshot has exactly these files, that every blob fits its name, and that no part file is left."""
    assert read_tree(snapshot(restored, repo)) == files
    root = snapshot(restored, repo).parent.parent
    check_blobs(root)
    assert list(root.glob(".cas/parts/*.part")) == []
    assert (root / "refs/main").read_text() == snapshot(restored, repo).name


def check_blobs(root: Path) -> None:
    """Check that no blob, snapshot file or ref in a repo's folder is partial or wrong under its final name."""
    for blob in root.glob("blobs/*"):
        data = blob.read_bytes()
        running = blob_hash(blob.name, len(data))
        running.update(data)
        assert running.hexdigest() == blob.name
    for path in root.glob("snapshots/**/*"):
        assert path.is_dir() or path.resolve().parent.name == "blobs", f"{path} is no whole file of a repo"
    for ref in root.glob("refs/**/*"):
        assert re.fullmatch("[0-9a-f]{40}", ref.read_text()), ref
