"""A user with neither HOME nor an entry in the list of users: what needs no home works, the rest says what to name."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

import cas
from cas import config
from cas.errors import InputError
from cas.store.choice import store_url
from tests.support.models import publish_tree, read_tree, snapshot, write_tree
from tests.support.processes import start_cas

NO_ENTRY = "import pwd\ndef gone(number):\n    raise KeyError(number)\npwd.getpwuid = gone"
NO_HOME = {
    "HOME": "",
    "XDG_CACHE_HOME": "",
    "XDG_DATA_HOME": "",
    "USER": "",
    "LOGNAME": "",
    "LNAME": "",
    "USERNAME": "",
}


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process's user has no home."""

    def gone(number: int) -> object:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", gone)
    monkeypatch.delenv("HOME")


@pytest.mark.usefixtures("homeless")
class TestPlaces:
    """What config says of places."""

    @pytest.mark.parametrize(
        ("find", "told"),
        [
            (store_url, "--store or CAS_STORE"),
            (config.cache_dirs, "HF_HOME, or --cache-dir"),
            (lambda: config.expand_user("~/x"), "write the whole path instead of '~/x'"),
            (lambda: config.expand_user("~"), "write the whole path instead of '~'"),
        ],
    )
    def test_what_needs_a_home_says_what_to_name(self, find: object, told: str) -> None:
        with pytest.raises(InputError, match="this user has no home directory") as error:
            find()  # type: ignore[operator]
        assert told in str(error.value)

    def test_a_blank_home_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", " ")
        with pytest.raises(InputError, match="no home directory"):
            config.cache_dirs()

    @pytest.mark.parametrize("name", ["hub", "other"])
    def test_home_follows_from_the_hub_cache(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        implied = config.CacheDirs(Path("/x", name), Path("/x"), home_is_implied=True)
        assert config.cache_dirs(f"/x/{name}") == implied
        monkeypatch.setenv("HF_HUB_CACHE", f"/x/{name}")
        assert config.cache_dirs() == implied

    def test_variables_that_name_a_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", "/c")
        assert config.cache_dirs() == config.CacheDirs(Path("/c/huggingface/hub"), Path("/c/huggingface"))
        monkeypatch.setenv("HF_HOME", "/h")
        assert config.cache_dirs() == config.CacheDirs(Path("/h/hub"), Path("/h"))
        monkeypatch.setenv("XDG_DATA_HOME", "/d")
        assert store_url() == "/d/model-cas"

    def test_a_folder_is_published_and_restored(self, tmp_path: Path) -> None:
        files = {"w.bin": b"weights"}
        published = publish_tree(str(tmp_path / "store"), write_tree(tmp_path / "tree", files))
        restored = cas.restore(published.reference, str(tmp_path / "store"), cache_dir=tmp_path / "hub")
        assert read_tree(snapshot(restored)) == files


def test_the_list_of_users_names_the_home_when_home_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "")
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert config.expand_user("~/x") == home / "x"
    assert config.cache_dirs().home == home / ".cache/huggingface"


@pytest.mark.parametrize(("words", "told"), [(["ls"], "CAS_STORE"), (["restore", "m", "--store", "/none"], "HF_HOME")])
def test_the_command_says_it_in_one_line(words: list[str], told: str) -> None:
    process = start_cas(*words, before=NO_ENTRY, env=NO_HOME)
    _, printed = process.communicate(timeout=60)
    (line,) = printed.splitlines()
    assert process.returncode == 2
    assert line.startswith("cas: this user has no home directory")
    assert told in line
