"""Variants of real weights: restored, compared tensor by tensor, found by clients, and said to be what they are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3

import cas
from cas import refs
from cas.errors import InputError
from cas.formats.manifest import Manifest
from cas.refs import reflog
from cas.refs.reflog import Ref, RefLog
from cas.store.store import Store
from tests.support.in_process import call_cas
from tests.support.models import REPO, publish_tree, read_tree, sha256, snapshot, write_tree
from tests.support.safetensors import TARGETS, Tensor, cast_all, normal, publish_file, read_safetensors, safetensors
from tools.models.minilm import model_dir


@pytest.fixture(scope="module")
def minilm() -> dict[str, Tensor]:
    tensors, _, _ = read_safetensors((model_dir() / "model.safetensors").read_bytes())
    return tensors


def numpy_cast(tensor: Tensor, target: str) -> bytes:
    """Of float32 weights without NaNs and infinities: fast, where `cast_all` would take minutes."""
    floats = np.frombuffer(tensor.data, np.float32)
    if target == "F16":
        return floats.astype(np.float16).tobytes()
    bits = floats.view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16).tobytes()


def manifest_of(store: Store, reference: str) -> Manifest:
    return refs.resolve(store, reference).manifest


@pytest.mark.parametrize("cast", TARGETS)
def test_real_weights_come_back_cast(cast: str, store: Store, tmp_path: Path, minilm: dict[str, Tensor]) -> None:
    published = publish_tree(store, model_dir())
    done = cas.derive("m", store, cast=cast, tags=["small"])
    assert (done.cast, done.original) == ((f"{REPO}/model.safetensors",), published.reference)
    assert done.tensors == sum(tensor.dtype == "F32" for tensor in minilm.values()) > 100
    assert 0.5 <= done.total / done.before <= 0.51
    assert done.wire < 0.45 * published.total
    small = snapshot(cas.restore("m:small", store, cache_dir=tmp_path / "hub"))
    data = (small / "model.safetensors").read_bytes()
    tensors, metadata, order = read_safetensors(data)
    before, metadata_before, order_before = read_safetensors((model_dir() / "model.safetensors").read_bytes())
    assert (list(tensors), metadata, order) == (list(before), metadata_before, order_before)
    for name, tensor in tensors.items():
        original = minilm[name]
        assert tensor.shape == original.shape
        if original.dtype == "F32":
            assert tensor.dtype == TARGETS[cast]
            assert tensor.data == numpy_cast(original, TARGETS[cast]), name
        else:
            assert tensor == original
    others = {path: data for path, data in read_tree(model_dir()).items() if path != "model.safetensors"}
    assert others == {path: data for path, data in read_tree(small).items() if path != "model.safetensors"}


def test_a_variant_says_where_it_comes_from_and_why_it_is_right(directory_store: Store, tmp_path: Path) -> None:
    store = directory_store
    file = safetensors(
        {"a b\n": Tensor("F32", (2, 3), normal(6)), "i": Tensor("I64", (), b"8" * 8), "e": Tensor("F32", (0,), b"")},
        {"format": "pt"},
    )
    original = publish_file(store, tmp_path / "src", file, **{"config.json": b"{}"})
    done = cas.derive("m", store, cast="float16", tags=["fp16", "also"])
    before, after = manifest_of(store, "m"), manifest_of(store, "m:fp16")
    assert (done.moved, done.reference) == (("fp16", "also"), refs.resolve(store, "m:also").exact)
    assert after.derived is not None
    assert f"m@{after.derived.parent}" == original.reference
    assert after.derived.transform == done.transform == "cast:float16"
    assert "wherever the loader casts to float16" in done.equivalent
    (repo,), (upstream,) = after.repos, before.repos
    assert (repo.repo_id, repo.refs) == (REPO, ("main",))
    assert len(repo.commit) == 40
    assert repo.commit != upstream.commit
    config, weights = repo.files
    assert config == upstream.files[0]
    restored = snapshot(cas.restore("m:fp16", store, cache_dir=tmp_path / "hub"))
    assert restored.name == repo.commit
    assert weights.blob == sha256(restored / "model.safetensors")

    now, _, _ = read_safetensors((restored / "model.safetensors").read_bytes())
    old, _, _ = read_safetensors(file)
    hexes = [(blake3(old[name].data).hexdigest(), blake3(now[name].data).hexdigest()) for name in old]
    listing = (
        f'file "{REPO}/model.safetensors" {weights.blob}\n'
        f'"a b\\n" F32->F16 {" ".join(hexes[0])}\n"i" I64->I64 {" ".join(hexes[1])}\n'
        f'"e" F32->F16 {" ".join(hexes[2])}\n'
    )
    proof = f"blake3:{blake3(listing.encode()).hexdigest()}"
    assert after.annotations == {"cast.tensors": "2", "cast.proof": proof}
    assert (done.tensors, done.proof) == (2, proof)


def test_the_commit_is_the_same_everywhere_and_another_for_each_content(tmp_path: Path) -> None:
    commits = {}
    for place in ("here", "there"):
        store = cas.open_store(str(tmp_path / place))
        for name, seed in (("one", 1), ("two", 2)):
            publish_file(store, tmp_path / name, safetensors({"w": Tensor("F32", (50,), normal(50, seed))}))
            for cast in TARGETS:
                cas.derive("m", store, cast=cast, tags=[cast])
                commits[place, name, cast] = manifest_of(store, f"m:{cast}").repos[0].commit
    assert len(set(commits.values())) == 4
    for (_, name, cast), commit in commits.items():
        assert commit == commits["here", name, cast]


def test_a_tag_moves_from_one_variant_to_the_next(directory_store: Store, tmp_path: Path) -> None:
    first = publish_file(directory_store, tmp_path / "1", safetensors({"w": Tensor("F32", (50,), normal(50))}))
    one = cas.derive("m", directory_store, cast="float16", tags=["fp16"])
    publish_file(directory_store, tmp_path / "2", safetensors({"w": Tensor("F32", (60,), normal(60))}))
    two = cas.derive("m", directory_store, cast="float16", tags=["fp16"])
    moves = RefLog(directory_store, Ref("tags", "m", "fp16")).history()
    assert [f"m@{move.entry.manifest}" for move in moves] == [one.reference, two.reference]
    assert two.created
    older = cas.derive(first.reference, directory_store, cast="bfloat16", tags=["old"])
    assert older.original == first.reference


def test_only_repos_that_change_get_a_new_commit_and_one_content_is_cast_once(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    file = safetensors({"w": Tensor("F32", (300_000,), normal(300_000))})
    hub = tmp_path / "home/hub"
    for name, files in {
        "same": {"model.safetensors": file},
        "text": {"a.txt": b"a"},
        "more": {"x.safetensors": file},
    }.items():
        publish_tree(directory_store, write_tree(tmp_path / name, files), model=name)
        cas.restore(name, directory_store, cache_dir=hub)
        moved = hub / f"models--org--{name}"
        (hub / "models--org--model").rename(moved)
    write_tree(tmp_path / "home", {"torch/hub/x.safetensors": file, "torch/hub/copy.bin": file})
    source = tmp_path / "source.toml"
    repos = "".join(f'[[repo]]\nid = "org/{name}"\n' for name in ("same", "text", "more"))
    source.write_text(f'files = ["torch/hub/*"]\n{repos}')
    cas.publish("all", cas.Source.from_file(source), directory_store, download=False)
    done = cas.derive("all", directory_store, cast="float16", tags=["fp16"])
    assert done.cast == ("org/more/x.safetensors", "org/same/model.safetensors", "torch/hub/x.safetensors")
    assert (done.pickles, done.files, done.tensors) == (("torch/hub/copy.bin",), 5, 1)
    assert done.uploaded < 700_000
    before, after = manifest_of(directory_store, "all"), manifest_of(directory_store, "all:fp16")
    assert done.total == after.plain_size
    assert [a == b for a, b in zip(before.repos, after.repos, strict=True)] == [False, False, True]
    assert len({repo.commit for repo in (*before.repos, *after.repos)}) == 5
    plain = {file.path: file for file in after.files}
    assert plain["torch/hub/copy.bin"] == {file.path: file for file in before.files}["torch/hub/copy.bin"]
    assert plain["torch/hub/x.safetensors"].chunks == after.repos[0].files[0].chunks
    shutil.rmtree(tmp_path / "home")
    cas.restore("all:fp16", directory_store, cache_dir=hub)
    cast = (tmp_path / "home/torch/hub/x.safetensors").read_bytes()
    assert read_safetensors(cast)[0]["w"].data == cast_all(normal(300_000), "F32", "F16")


def test_what_overflows_is_told_and_recorded(directory_store: Store, tmp_path: Path) -> None:
    values = np.array([1e6, -1e6, np.inf, np.nan, 1], np.float32).tobytes()
    publish_file(directory_store, tmp_path / "src", safetensors({"w": Tensor("F32", (5,), values)}))
    seen: list[cas.Event] = []
    done = cas.derive("m", directory_store, cast="float16", tags=["fp16"], on_event=seen.append)
    (warning,) = [event.text for event in seen if type(event).__name__ == "Warned"]
    assert "2 elements are too large for float16 and became infinite; bfloat16 has" in warning
    assert done.overflowed == 2
    assert "NaNs stay NaNs" in done.equivalent
    annotations = manifest_of(directory_store, "m:fp16").annotations
    assert (annotations["cast.overflowed"], annotations["cast.nans"]) == ("2", "1")
    shown = call_cas("--store", directory_store.url, "show", "m:fp16").stdout
    assert "2 elements became infinite" in shown


def test_a_variant_of_a_variant_is_refused_with_the_way_out(directory_store: Store, tmp_path: Path) -> None:
    original = publish_file(directory_store, tmp_path / "src", safetensors({"w": Tensor("F32", (5,), normal(5))}))
    cas.derive("m", directory_store, cast="bfloat16", tags=["bf16"])
    with pytest.raises(InputError, match="m:bf16 is itself a variant") as caught:
        cas.derive("m:bf16", directory_store, cast="float16", tags=["x"])
    assert original.reference in str(caught.value)
    cas.derive(original.reference, directory_store, cast="float16", tags=["x"])


@pytest.mark.parametrize("cast", ["float8", "F16", "", "half"])
def test_types_that_are_not_offered(cast: str, directory_store: Store) -> None:
    with pytest.raises(InputError, match="choose float16 or bfloat16"):
        cas.derive("m", directory_store, cast=cast, tags=["x"])
    with pytest.raises(InputError, match="at least one tag"):
        cas.derive("m", directory_store, cast="float16", tags=[])


def test_nothing_to_cast_is_a_wrong_call(directory_store: Store, tmp_path: Path) -> None:
    half = safetensors({"w": Tensor("F16", (5,), b"1" * 10), "i": Tensor("I32", (1,), b"1" * 4)})
    publish_file(directory_store, tmp_path / "half", half)
    with pytest.raises(InputError, match="no safetensors file with floating tensors to cast to float16"):
        cas.derive("m", directory_store, cast="float16", tags=["x"])
    publish_tree(directory_store, write_tree(tmp_path / "bin", {"pytorch_model.bin": b"1" * 100}), model="b")
    with pytest.raises(InputError, match=r"pytorch_model\.bin is a pickle, which is not looked into"):
        cas.derive("b", directory_store, cast="float16", tags=["x"])
    assert list(reflog.tags(directory_store, "m")["m"]) == ["latest"]


def test_sharded_models_are_cast_shard_by_shard(store: Store, tmp_path: Path) -> None:
    shards = {
        f"model-{number}.safetensors": safetensors({f"w{number}": Tensor("F64", (40_000,), normal(80_000, number))})
        for number in range(5)
    }
    index = json.dumps({"weight_map": {f"w{number}": name for number, name in enumerate(shards)}}).encode()
    publish_tree(store, write_tree(tmp_path / "src", {**shards, "model.safetensors.index.json": index}))
    done = cas.derive("m", store, cast="bfloat16", tags=["bf16"])
    assert len(done.cast) == 5
    files = read_tree(snapshot(cas.restore("m:bf16", store, cache_dir=tmp_path / "hub")))
    for number, (name, data) in enumerate(shards.items()):
        assert read_safetensors(files[name])[0][f"w{number}"].data == cast_all(
            read_safetensors(data)[0][f"w{number}"].data, "F64", "BF16"
        )
