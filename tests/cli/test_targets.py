"""Where a command writes: the store that it says, never one that nobody chose; and how a store is made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cas.errors import InputError, StoreMissing
from cas.local.variables import VARIABLES
from cas.store.choice import store_url
from cas.store.store import open_store
from tests.support.in_process import call_cas
from tests.support.models import publish_tree, write_tree

S3 = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
# A switch for public containers and buckets names none.
AZURE, GOOGLE = (
    [one.name for one in VARIABLES if one.name.startswith(begin) and not one.name.endswith("_SKIP_SIGNATURE")]
    for begin in ("AZURE_", "GOOGLE_")
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder to publish."""
    return write_tree(tmp_path / "tree", {"w.bin": b"weights"})


class TestChoice:
    """Which store is meant."""

    @pytest.mark.parametrize("blank", ["", " ", "\n"])
    @pytest.mark.parametrize(
        ("name", "others"),
        [("CAS_STORE", {}), ("CAS_STORE", {"S3_BUCKET": "b"}), ("S3_BUCKET", {})],
    )
    def test_a_variable_that_is_set_and_empty_is_an_error(
        self, monkeypatch: pytest.MonkeyPatch, name: str, others: dict[str, str], blank: str
    ) -> None:
        for key, value in {**others, name: blank}.items():
            monkeypatch.setenv(key, value)
        with pytest.raises(InputError, match=f"^{name} is set and empty"):
            store_url()
        assert store_url("/x") == "/x"

    def test_an_empty_option_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CAS_STORE", "/x")
        with pytest.raises(InputError, match=r"^--store is empty"):
            store_url(" ")

    def test_an_empty_variable_behind_the_one_that_decides(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CAS_STORE", " /x\n")
        monkeypatch.setenv("S3_BUCKET", "")
        assert store_url() == "/x"

    @pytest.mark.parametrize(
        ("name", "choice"),
        [
            ("AWS_ACCESS_KEY_ID", "S3_BUCKET, CAS_STORE=s3://bucket/prefix"),
            ("AWS_PROFILE", "S3_BUCKET, CAS_STORE=s3://bucket/prefix"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "S3_BUCKET, CAS_STORE=s3://bucket/prefix"),
            ("AWS_ENDPOINT_URL", "S3_BUCKET, CAS_STORE=s3://bucket/prefix"),
            *((name, "CAS_STORE=az://container/prefix") for name in AZURE),
            *((name, "CAS_STORE=gs://bucket/prefix") for name in GOOGLE),
        ],
    )
    def test_the_default_directory_is_refused_beside_variables_of_a_bucket(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, choice: str
    ) -> None:
        default = str(tmp_path / "home/.local/share/model-cas")
        assert store_url() == default
        monkeypatch.setenv(name, "")
        assert store_url() == default
        monkeypatch.setenv(name, "x")
        with pytest.raises(
            InputError, match=f"no store is chosen, and {name} is set: choose one with {choice}"
        ) as error:
            store_url()
        assert f"--store {default}" in str(error.value)
        monkeypatch.setenv("S3_BUCKET", "b")
        assert store_url() == "s3://b/cas"

    @pytest.mark.parametrize("variables", [{"S3_BUCKET": ""}, {"CAS_STORE": ""}, S3])
    def test_no_publish_goes_where_nobody_sent_it(self, tmp_path: Path, tree: Path, variables: dict[str, str]) -> None:
        done = call_cas("publish", "m", "--dir", str(tree), "--as", "o/m", env=variables)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
        assert not (tmp_path / "home").exists()

    def test_an_empty_option_of_the_command(self, tmp_path: Path, tree: Path) -> None:
        done = call_cas("publish", "m", "--dir", str(tree), "--as", "o/m", "--store", "")
        assert done.returncode == 2
        assert "--store is empty" in done.stderr


class TestMaking:
    """How a store is made."""

    def test_init_makes_it_once(self, tmp_path: Path) -> None:
        words = ("init", "--store", str(tmp_path / "store"))
        first, second = (json.loads(call_cas(*words, "--json").stdout) for _ in range(2))
        assert first == {"store": str(tmp_path / "store"), "made": True}
        assert second == {"store": str(tmp_path / "store"), "made": False}
        third = call_cas(*words)
        assert (third.returncode, third.stderr) == (0, f"there is a store at {tmp_path / 'store'}\n")
        assert [path.name for path in (tmp_path / "store").iterdir()] == ["format.json"]

    def test_a_publish_to_nothing_makes_it_and_says_so(self, tmp_path: Path, tree: Path) -> None:
        words = ("publish", "m", "--dir", str(tree), "--as", "o/m")
        store = tmp_path / "home/.local/share/model-cas"
        done = call_cas(*words)
        assert f"made a new store at {store}\n" in done.stderr
        assert f"published m to {store}: " in done.stderr
        again = call_cas(*words)
        assert "made a new store" not in again.stderr
        assert f"unchanged in {store}: " in again.stderr
        document = json.loads(call_cas(*words, "--json").stdout)
        assert (document["store"], document["made_store"]) == (str(store), False)

    def test_a_publish_makes_none_among_other_things(self, tmp_path: Path, tree: Path) -> None:
        place = write_tree(tmp_path / "place", {"photos/cat.jpg": b"cat"})
        with pytest.raises(StoreMissing, match=r"other things are there \(photos/cat.jpg\): .*`cas init`"):
            publish_tree(str(place), tree)
        assert [path.name for path in place.iterdir()] == ["photos"]
        assert open_store(str(place)).create()
        assert publish_tree(str(place), tree).created

    def test_empty_markers_and_hidden_files_are_nothing(self, tmp_path: Path, tree: Path) -> None:
        place = write_tree(tmp_path / "place", {"marker": b"", ".DS_Store": b"x", ".trash/a": b"x"})
        assert publish_tree(str(place), tree).made_store

    def test_a_real_server(self, s3_url: str, tree: Path) -> None:
        bucket = open_store(s3_url).bucket
        published = publish_tree(s3_url, tree)
        assert (published.store, published.made_store) == (s3_url, True)
        assert bucket.where.startswith(f"{s3_url} at http://")
        above = s3_url.rpartition("/")[0]
        with pytest.raises(StoreMissing, match=r"other things are there \(cas/chunks/"):
            publish_tree(above, tree)


def test_what_writes_says_where(tmp_path: Path, tree: Path) -> None:
    store = tmp_path / "store"
    for content in (b"weights", b"other weights"):
        publish_tree(str(store), write_tree(tree, {"w.bin": content}))
    for words in ("tag m v1", "rollback m", "untag m:v1", "pin eu m", "unpin eu", "gc"):
        done = call_cas(*words.split(), "--store", str(store))
        assert done.returncode == 0
        assert done.stderr == f"store: {store}\n"
    assert json.loads(call_cas("gc", "--json", "--store", str(store)).stdout)["store"] == str(store)
    assert call_cas("tag", "m", "v2", "-q", "--store", str(store)).stderr == ""
