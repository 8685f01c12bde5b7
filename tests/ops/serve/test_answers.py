"""What clients read of an answer: the real client's calls, and the headers that it relies on."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

from cas.ops.serve.access import Access, Caller
from cas.ops.serve.answers import Refusal
from cas.ops.serve.routes import decoded
from tests.ops.serve.conftest import DATASET, FILES, REPOS, Served
from tests.support.models import COMMIT, read_tree

RESOLVE = "/org/model/resolve/main"


@pytest.fixture
def api(served: Served, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    return HfApi(endpoint=served.server.endpoint)


def test_the_client_finds_files_folders_and_refs(api: HfApi) -> None:
    info = api.model_info("org/model", files_metadata=True)
    assert info.sha == COMMIT and info.siblings is not None
    assert {file.rfilename: file.size for file in info.siblings} == {name: len(data) for name, data in FILES.items()}
    top = {entry.path for entry in api.list_repo_tree("org/model")}
    everything = {entry.path for entry in api.list_repo_tree("org/model", recursive=True, expand=True)}
    assert top == {"config.json", "empty.txt", "onnx", "weights.bin"}
    assert everything == {*FILES, "onnx", "onnx/deep"}
    assert [entry.path for entry in api.list_repo_tree("org/model", "onnx/deep")] == ["onnx/deep/model.onnx"]
    found = api.get_paths_info("org/model", ["onnx", "weights.bin", "absent"])
    assert {(entry.path, getattr(entry, "size", None)) for entry in found} == {
        ("onnx", None),
        ("weights.bin", len(FILES["weights.bin"])),
    }
    assert [(ref.name, ref.target_commit) for ref in api.list_repo_refs("org/model").branches] == [("main", COMMIT)]
    assert api.file_exists("org/model", "config.json") and not api.file_exists("org/model", "config.yaml")
    assert sorted(model.id for model in api.list_models()) == sorted(REPOS)
    assert [model.id for model in api.list_models(author="org")] == ["org/model"]
    api.auth_check("org/model")


def test_the_client_downloads_what_was_published(served: Served, api: HfApi, tmp_path: Path) -> None:
    for repo, files in REPOS.items():
        folder = snapshot_download(repo, endpoint=served.server.endpoint, cache_dir=tmp_path)
        assert read_tree(Path(folder)) == files
        assert Path(folder).name == COMMIT


def test_a_dataset_is_no_model_of_the_same_id(served: Served, api: HfApi, tmp_path: Path) -> None:
    folder = snapshot_download("org/model", repo_type="dataset", endpoint=served.server.endpoint, cache_dir=tmp_path)
    assert read_tree(Path(folder)) == DATASET
    siblings = api.dataset_info("org/model").siblings
    assert siblings is not None and [file.rfilename for file in siblings] == ["train.csv"]
    assert [dataset.id for dataset in api.list_datasets()] == ["org/model"]
    assert served.ask("/spaces/org/model/resolve/main/train.csv").status == 404


def test_the_client_is_told_what_is_absent(api: HfApi) -> None:
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("org/other")
    with pytest.raises(RepositoryNotFoundError):
        api.dataset_info("bare")  # the store has a model of that id
    with pytest.raises(RepositoryNotFoundError):
        api.space_info("org/model")
    with pytest.raises(RevisionNotFoundError):
        api.model_info("org/model", revision="0" * 40)
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree("org/model", "weights"))
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download("org/model", "weights")


def test_a_file_has_the_headers_by_which_clients_name_it(served: Served) -> None:
    whole = served.ask(f"{RESOLVE}/weights.bin")
    head = served.ask(f"/org/model/resolve/{COMMIT}/weights.bin", "HEAD")
    assert (whole.status, whole.body) == (200, FILES["weights.bin"])
    assert head.status == 200 and head.body == b""
    for answer in (whole, head):
        assert answer.headers["x-repo-commit"] == COMMIT
        assert answer.headers["etag"] == answer.headers["x-linked-etag"]
        assert answer.headers["content-length"] == answer.headers["x-linked-size"] == str(len(FILES["weights.bin"]))
        assert not any("xet" in name for name in answer.headers)
    assert served.ask(f"{RESOLVE}/empty.txt").body == b""
    absent = served.ask(f"{RESOLVE}/absent", "HEAD")
    assert (absent.status, absent.headers["x-error-code"]) == (404, "EntryNotFound")
    assert absent.headers["x-repo-commit"] == COMMIT


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=65530-65545", 65530, 65546),  # over the end of a chunk
        ("bytes=307000-", 307000, 307200),
        ("bytes=307199-99999999", 307199, 307200),
        ("bytes=-7", 307193, 307200),
        ("bytes=-9999999", 0, 307200),
    ],
)
def test_a_range_is_those_bytes(served: Served, header: str, start: int, stop: int) -> None:
    answer = served.ask(f"{RESOLVE}/weights.bin", headers={"Range": header})
    assert answer.status == 206
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/307200"
    assert answer.body == FILES["weights.bin"][start:stop]


@pytest.mark.parametrize("header", ["bytes=0-1,3-4", "bytes=9-3", "bytes=-", "lines=1-2", "bytes=x-", "bytes=0-1, 0-1"])
def test_what_is_no_single_range_is_the_whole_file(served: Served, header: str) -> None:
    answer = served.ask(f"{RESOLVE}/config.json", headers={"Range": header})
    assert (answer.status, answer.body) == (200, FILES["config.json"])


@pytest.mark.parametrize("header", ["bytes=8-", "bytes=99-100", "bytes=-0", "bytes=9999999999999999999-"])
def test_a_range_behind_the_end_is_refused_with_the_size(served: Served, header: str) -> None:
    answer = served.ask(f"{RESOLVE}/config.json", headers={"Range": header})
    assert (answer.status, answer.headers["content-range"]) == (416, "bytes */8")


def test_conditions_are_heeded(served: Served) -> None:
    etag = served.ask(f"{RESOLVE}/config.json", "HEAD").headers["etag"]

    def status(**headers: str) -> int:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return served.ask(f"{RESOLVE}/config.json", headers=given).status

    assert status(If_None_Match=etag) == status(If_None_Match=f'"x", W/{etag}') == status(If_None_Match="*") == 304
    assert status(If_None_Match='"x"') == status(If_Match=etag) == 200
    assert status(If_Match='"x"') == 412
    assert status(If_Range=etag, Range="bytes=0-1") == 206
    assert status(If_Range='"x"', Range="bytes=0-1") == 200


def test_llama_cpp_is_told_which_file_a_tag_means(tmp_path: Path) -> None:
    from cas.formats.manifest import Repo, RepoFile
    from cas.ops.serve.gguf_choice import chosen_gguf
    from cas.ops.serve.listing import Listing

    names = ("a-Q4_K_M.gguf", "a-Q8_0-00001-of-00002.gguf", "a-Q8_0-00002-of-00002.gguf", "mmproj-f16.gguf", "x.txt")
    files = tuple(RepoFile(name, 4, "a" * 64, ()) for name in names)
    listing = Listing(Repo("org/model", "model", COMMIT, ("main",), files))

    def chosen(tag: str) -> str | None:
        found = chosen_gguf(listing, tag)
        assert found is None or found["mmprojFile"]["rfilename"] == "mmproj-f16.gguf"
        return found and found["ggufFile"]["rfilename"]

    assert chosen("latest") == chosen("q4_k_m") == "a-Q4_K_M.gguf"
    assert chosen("Q8_0") == "a-Q8_0-00001-of-00002.gguf"
    assert chosen("Q2_K") is None


def test_names_of_any_script_are_read(served: Served) -> None:
    for name in ("ideographic\u3000space.bin", "no-break\u00a0space", "joined \u200d", "10 %.bin"):
        assert decoded(quote(name)) == name
    assert served.ask("/org/model/resolve/main/a%3f%e3%80%80b").headers["x-error-code"] == "EntryNotFound"
    assert served.ask("/org/model/resolve/main/a%0d%0ab").status == 400


def test_a_token_with_a_colon_is_told_from_the_callers_own() -> None:
    access = Access("a:b")
    assert access.admit("Bearer a:b") == Caller("")
    assert access.admit("Bearer a:b:hf_ann") == Caller("hf_ann")
    for wrong in ("a", "a:", "a:bc", "a:b\u00e9", ""):
        with pytest.raises(Refusal):
            access.admit(f"Bearer {wrong}")
    assert Access(None).admit("Bearer \u00e9") == Caller("")
