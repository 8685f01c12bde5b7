"""Models to publish: trees of files, noise, manifests made by hand; and what a restored one must look like."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import cas
from cas.formats.digest import hex_of
from cas.formats.frame import Encoder
from cas.formats.manifest import ChunkRef, Manifest, PlainFile, Repo, RepoFile, now
from cas.local.hf_cache import blob_hash
from cas.refs.reference import Reference, log_of
from cas.store.store import Store

REPO = "org/model"


def write_tree(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Writes files by relative path below `folder`."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def read_tree(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` by relative path, read through symlinks."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def publish_tree(store: Store | str, folder: Path, model: str = "m", **options: object) -> cas.Published:
    """Publishes a folder as REPO."""
    return cas.publish(model, cas.Source.from_folder(folder, REPO), store, **options)  # type: ignore[arg-type]


def snapshot(restored: cas.Restored, repo: str = REPO) -> Path:
    """The snapshot folder of a repo."""
    return Path(restored.snapshots[repo])


def sha256(path: Path) -> str:
    """Of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


COMMIT = "c" * 40


KIB = 1024


Files = Mapping[str, bytes]


def put_model(
    store: Store,
    repos: Mapping[str, Files],
    plain: Files | None = None,
    *,
    model: str = "m",
    commit: str = COMMIT,
    chunk: int = 64 * KIB,
) -> Manifest:
    """Stores a manifest of these files, cut every `chunk` bytes, as `model:latest`: many chunks from few bytes."""
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
        created=now(),
        created_by="test",
        repos=tuple(
            Repo(repo, "model", commit, ("main",), tuple(repo_file(path, data) for path, data in files.items()))
            for repo, files in repos.items()
        ),
        files=tuple(PlainFile(path, len(data), chunks(data)) for path, data in (plain or {}).items()),
    )
    log_of(store, Reference(model, tag="latest")).append(store.put_manifest(made), reason="test")
    return made


def noise(size: int, seed: int = 0) -> bytes:
    """The same incompressible bytes every time."""
    return b"".join(hashlib.sha256(b"%d %d" % (seed, at)).digest() for at in range(0, size, 32))[:size]


def check(restored: cas.Restored, files: Files, repo: str = REPO) -> None:
    """The snapshot holds exactly these files, every blob is what its name says, and nothing of ours is left over."""
    assert read_tree(snapshot(restored, repo)) == files
    root = snapshot(restored, repo).parent.parent
    check_blobs(root)
    assert list(root.glob(".cas/parts/*.part")) == []
    assert (root / "refs/main").read_text() == snapshot(restored, repo).name


def check_blobs(root: Path) -> None:
    """No blob in a repo's folder is partial or wrong under its final name, nor is any snapshot file or ref."""
    for blob in root.glob("blobs/*"):
        data = blob.read_bytes()
        running = blob_hash(blob.name, len(data))
        running.update(data)
        assert running.hexdigest() == blob.name
    for path in root.glob("snapshots/**/*"):
        assert path.is_dir() or path.resolve().parent.name == "blobs", f"{path} is no whole file of a repo"
    for ref in root.glob("refs/**/*"):
        assert re.fullmatch("[0-9a-f]{40}", ref.read_text()), ref
