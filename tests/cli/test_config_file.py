"""The configuration file: stores by name, defaults, what goes before it, and what is wrong in one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import cas
from cas.local import config_file
from cas.store.choice import source_of_store, store_url
from tests.cli.conftest import Shop
from tests.support.in_process import call_cas
from tests.support.models import write_tree


def write(text: str) -> Path:
    """Write the user's configuration file, and return its path."""
    path = Path(os.environ["HOME"], ".config/model-cas/config.toml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


@pytest.fixture
def named(shop: Shop) -> Shop:
    """The shop, whose store is `prod` in the configuration file."""
    write(f'[stores]\nprod = "{shop.url}"\nlab = "~/lab"\n')
    return shop


def test_a_store_is_called_by_its_name_wherever_a_store_stands(named: Shop, tmp_path: Path) -> None:
    wanted = call_cas("--store", named.url, "ls").stdout
    assert call_cas("--store", "prod", "ls").stdout == wanted
    assert call_cas("ls", env={"CAS_STORE": "prod"}).stdout == wanted
    assert [version.model for version in cas.open_store("prod").versions()] == ["m", "m"]
    copied = call_cas("--store", "prod", "copy", "m", "lab")
    assert copied.returncode == 0, copied.stderr
    assert Path(os.environ["HOME"], "lab/format.json").exists()
    failed = call_cas("--store", "prod", "show", "m@00000000")
    assert "see `cas --store prod ls m`" in failed.stderr


def test_what_goes_before_the_file(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write('store = "prod"\n[stores]\nprod = "s3://b/cas"\nlab = "/lab"\n')
    assert (store_url(), source_of_store()) == ("s3://b/cas", str(path))
    monkeypatch.setenv("S3_BUCKET", "other")
    assert (store_url(), source_of_store()) == ("s3://other/cas", "S3_BUCKET")
    monkeypatch.setenv("CAS_STORE", "lab")
    assert (store_url(), source_of_store()) == ("/lab", f"CAS_STORE: lab in {path}")
    assert (store_url("/x"), source_of_store("/x")) == ("/x", "the call")
    assert source_of_store("prod") == f"the call: prod in {path}"


def test_a_path_is_no_name(named: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert store_url("./prod") == "./prod"
    write_tree(tmp_path / "folder", {"x": b""})
    assert store_url("folder") == "folder"
    refused = call_cas("--store", "prd", "ls")
    assert refused.returncode == 2
    assert (
        "names no store 'prd' (did you mean prod?): its stores are lab, prod. Write ./prd for a folder"
        in refused.stderr
    )
    write('by = "ann"\n')
    assert store_url("prd") == "prd", "a file without stores refuses no folder that is to be made"


def test_defaults_of_options(shop: Shop, tmp_path: Path) -> None:
    cache, seed = tmp_path / "hub of the file", tmp_path / "seed"
    write(f'cache-dir = "{cache}"\nseeds = ["{seed}"]\nby = "ann"\n')
    store = ("--store", shop.url)
    assert call_cas(*store, "tag", "m:v1", "prod").returncode == 0
    assert call_cas(*store, "tag", "m:v1", "old", "--by", "bob").returncode == 0
    moves = [json.loads(call_cas(*store, "--json", "history", ref).stdout) for ref in ("m:prod", "m:old")]
    assert [json.dumps(each).count('"ann"') for each in moves] == [1, 0]
    restored = call_cas(*store, "restore", "m")
    assert (restored.returncode, cache.is_dir()) == (0, True), restored.stderr
    assert "--cache-dir" not in call_cas(*store, "restore", "m@00000000").stderr
    other = tmp_path / "hub of the call"
    assert call_cas(*store, "restore", "m", "--cache-dir", str(other)).returncode == 0
    assert other.is_dir()
    third = tmp_path / "hub of the variable"
    assert call_cas(*store, "restore", "m", env={"HF_HUB_CACHE": str(third)}).returncode == 0
    assert third.is_dir()


def test_info_shows_the_file_and_what_comes_from_it(named: Shop) -> None:
    path = write(f'store = "prod"\ncache-dir = "/hub"\nseeds = ["/a"]\n[stores]\nprod = "{named.url}"\n')
    rows = {row["name"]: row for row in json.loads(call_cas("info", "--json").stdout)["settings"]}
    found = {
        name: (rows[name]["value"], rows[name]["source"]) for name in ("config file", "store", "hub cache", "seeds")
    }
    assert found == {
        "config file": (str(path), "default"),
        "store": (named.url, str(path)),
        "hub cache": ("/hub", str(path)),
        "seeds": ("/a", str(path)),
    }
    assert rows["config file"]["decides"].endswith("its stores are prod")
    path.unlink()
    assert "config.toml does not exist" in call_cas("info", "--no-trunc").stdout


def test_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write('store = "/default"\n')
    (tmp_path / "mine.toml").write_text('store = "/mine"\n')
    monkeypatch.setenv("CAS_CONFIG", str(tmp_path / "mine.toml"))
    assert store_url() == "/mine"
    monkeypatch.setenv("CAS_CONFIG", str(tmp_path / "absent.toml"))
    done = call_cas("ls")
    assert (done.returncode, "absent.toml cannot be read: No such file" in done.stderr) == (2, True)
    assert call_cas("ls", "--help").returncode == 0
    assert call_cas("ls", "--store", str(tmp_path)).returncode == 3, "a file that nothing asks for is not read"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('stor = "x"', "'stor' is no key (did you mean store?): the keys are store, stores, cache-dir, seeds, by"),
        ('signing-key = "x"', "'signing-key' is no key: the keys are"),
        ("store = 1", "store is 1: write a text in quotes"),
        ('store = ""', "store is '': write a text in quotes"),
        ('store = "a/b"', "store is 'a/b': write a URL, or a path that begins with / or ~"),
        ('store = "lab"\n[stores]\nprod = "/x"', "names no store 'lab'"),
        ('stores = "x"', "stores is no table"),
        ('[stores]\nPROD = "/x"', "'PROD' below [stores] is no name"),
        ('[stores]\nprod = "x"', "stores.prod is 'x': write a URL"),
        ('seeds = "/x"', "seeds is no list"),
        ("seeds = [1]", "seeds is 1: write a text in quotes"),
        ("# " + "x" * 1024 * 1024, "is larger than 1048576 bytes"),
        ("by = 1\nstore = x", "is not TOML: Invalid value (at line 2, column 9)"),
    ],
)
def test_what_is_wrong_in_a_file(text: str, says: str) -> None:
    path = write(text)
    done = call_cas("ls")
    (line,) = done.stderr.splitlines()
    assert (done.returncode, line.startswith(("cas: " + str(path), "cas: store: " + str(path)))) == (2, True), line
    assert says in line


def test_no_file_is_looked_for_where_the_store_is_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_file, "read_config", lambda: pytest.fail("the file was read"))
    for text in ("s3://bucket/cas", "/folder", "./folder", "https://host/x"):
        assert store_url(text) == text
