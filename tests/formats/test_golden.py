"""Stores that earlier releases wrote restore with today's code, byte for byte; see tests/golden/README.md."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cas
from cas import refs
from cas.errors import SignatureError
from cas.formats.frame import MAX_CHUNK
from cas.ops.derive.check import check
from cas.refs.history import history
from cas.store.store import Store
from tools.golden import DEPLOYMENT, MODEL, PUBLIC_KEY, ROOT, STORE_NAME, VARIANT, described, make


def expected(folder: Path) -> dict[str, dict[str, dict[str, int]]]:
    """For each reference, the sha256 and size of each file by its path below HF_HOME."""
    return json.loads((folder / "expected.json").read_text("utf-8"))  # type: ignore[no-any-return]


STORES = sorted(path.parent for path in ROOT.glob("*/expected.json"))
CASES = [(folder, reference) for folder in STORES for reference in expected(folder)]


def opened(name: str) -> Store:
    return cas.open_store(str(ROOT / name / "store"))


@pytest.mark.parametrize(("folder", "reference"), CASES, ids=lambda value: getattr(value, "name", value))
def test_a_golden_store_restores(folder: Path, reference: str, tmp_path: Path) -> None:
    files = expected(folder)[reference]
    restored = cas.restore(reference, opened(folder.name), cache_dir=tmp_path / "hub")
    assert described(tmp_path) == files
    assert restored.total == sum(file["size"] for path, file in files.items() if "/refs/" not in path)


def test_every_store_is_looked_at() -> None:
    assert [folder.name for folder in STORES] == sorted(path.name for path in ROOT.iterdir() if path.is_dir())
    assert {"v1", "v2", "v3"} <= {folder.name for folder in STORES}


@pytest.mark.parametrize(("name", "version"), [("v1", 1), ("v2", 2), ("v3", 2)])
def test_a_golden_store_is_complete(name: str, version: int) -> None:
    store = opened(name)
    kinds = set()
    for path in Path(store.url, "chunks").rglob("*"):
        if path.is_file():
            frame = path.read_bytes()
            kinds.add((frame[8:12], frame[12], frame[13] if frame[12] else None))
    assert kinds >= {(b"CAS1", 0, None), (b"CAS1", 1, 2), (b"CAS1", 1, 4), (b"CAS1", 1, 8)}
    found = refs.resolve(store, f"{MODEL}:latest").manifest
    sizes = set(found.chunks().values())
    assert 8 << 20 in sizes
    assert min(sizes) < 1000
    assert max(sizes) <= MAX_CHUNK
    assert {Path(file.path).suffix for file in found.all_files()} >= {".safetensors", ".gguf", ".bin", ".txt", ".pth"}
    assert any(not file.path.isascii() for file in found.all_files())
    assert any(file.size == 0 for file in found.all_files())
    assert len(found.repos) == 2
    assert all(store.get_manifest(MODEL, digest).version == version for digest in store.digests(MODEL))
    assert len(store.digests(MODEL)) == (2 if version == 1 else 3)


@pytest.mark.parametrize("name", ["v1", "v2", "v3"])
def test_a_golden_store_has_its_history(name: str) -> None:
    store = opened(name)
    latest = refs.log_of(store, refs.parse_reference(f"{MODEL}:latest"))
    assert len(latest.names()) == 2
    first, second = (latest.read(name).manifest for name in latest.names())
    pin = refs.log_of(store, refs.parse_reference(f"pin:{DEPLOYMENT}/{MODEL}")).current()
    assert pin is not None
    assert pin.manifest == first
    found = refs.resolve(store, f"{MODEL}:latest")
    assert found.exact == f"{MODEL}@{second}"
    assert getattr(found.manifest, "parent", first) == first, "version 1 says it, too"


def test_v2_has_a_variant_with_its_proof() -> None:
    store = opened("v2")
    variant = refs.resolve(store, f"{MODEL}:{VARIANT}").manifest
    assert variant.derived is not None
    assert f"{MODEL}@{variant.derived.parent}" == refs.resolve(store, f"{MODEL}:latest").exact
    assert variant.annotations.keys() == {"cast.proof", "cast.tensors"}
    assert check(f"{MODEL}:{VARIANT}", store).proof == variant.annotations["cast.proof"]


def test_v3_is_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAS_TRUSTED_KEYS", str(ROOT / "v3" / PUBLIC_KEY))
    with pytest.raises(SignatureError, match=rf"was signed by .* for {STORE_NAME}, not for file://.*CAS_STORE_NAME"):
        refs.resolve(opened("v3"), MODEL)
    monkeypatch.setenv("CAS_STORE_NAME", STORE_NAME)
    names = [reference for reference in expected(ROOT / "v3") if "@" not in reference]
    assert len(names) == 5
    for name in names:
        found = refs.resolve(opened("v3"), name).move
        assert found is not None
        assert found.key_id in (ROOT / "v3" / PUBLIC_KEY).read_text()
        assert [past.problem for past in history(opened("v3"), name)] == [""] * found.number
        with pytest.raises(SignatureError, match="has no signature"):
            refs.resolve(opened("v2"), name)


def test_v1_and_v2_have_the_same_content() -> None:
    for tag in ("v1", "v2"):
        one, two = (refs.resolve(opened(name), f"{MODEL}:{tag}").manifest for name in ("v1", "v2"))
        blobs = [
            {
                (repo.repo_id, repo.commit, repo.refs, file.path, file.blob)
                for repo in found.repos
                for file in repo.files
            }
            for found in (one, two)
        ]
        assert blobs[0] == blobs[1]


def test_a_golden_store_is_never_made_again() -> None:
    with pytest.raises(FileExistsError):
        make(ROOT / "v1")


def test_made_today_the_newest_golden_store_has_the_same_names(tmp_path: Path) -> None:
    # The names follow from the content and from the rules by which files are cut: other rules are another version.
    make(tmp_path / "next")
    assert expected(tmp_path / "next") == expected(ROOT / "v2") == expected(ROOT / "v3")
