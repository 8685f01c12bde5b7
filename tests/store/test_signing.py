"""A store's trust, signer and name: where each comes from, and that nothing is loaded where none is configured."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cas.errors import CacheError, InputError
from cas.refs.reflog import Ref, RefLog
from cas.store.cdn import through_cdn
from cas.store.reading import open_to_read
from cas.store.signing import canonical_name, name_setting, store_name
from cas.store.store import Store, open_store
from tests.support.keys import key, write_keys

TRACED = """
import sys
import cas
from cas.store.store import open_store
store = open_store(sys.argv[1])
assert (store.trust, store.signer) == (None, None)
print(*sorted(name for name in sys.modules if "trusted_keys" in name or "minisign" in name or "cryptography" in name))
"""


def test_without_keys_nothing_of_signatures_is_loaded(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", TRACED, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr


def test_trust_and_signer_come_from_the_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, public = write_keys(tmp_path, "k", key(1))
    monkeypatch.setenv("CAS_TRUSTED_KEYS", public)
    monkeypatch.setenv("CAS_SIGNING_KEY", own)
    for store in (open_store(str(tmp_path / "s")), open_to_read(str(tmp_path / "s"))):
        assert store.trust is not None
        assert list(store.trust.keys) == [key(1).public.id]
        assert store.signer is not None
        assert store.signer.public == key(1).public
    assert Store(store.bucket).trust is None


def test_a_signing_key_is_read_when_something_is_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAS_SIGNING_KEY", str(tmp_path / "none.key"))
    store = open_store(str(tmp_path / "s"))
    with pytest.raises(InputError, match=r"CAS_SIGNING_KEY: there is no key at .*none\.key"):
        _ = store.signer
    store.signer = key(2)
    assert store.signer.public == key(2).public
    store.signer = None
    assert store.signer is None


def test_a_wrong_setting_ends_what_opens_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAS_TRUSTED_KEYS", "")
    with pytest.raises(InputError, match="CAS_TRUSTED_KEYS is set and empty"):
        open_store(str(tmp_path))


def test_a_file_of_trusted_keys_that_cannot_be_looked_at_does_not_mean_no_trust(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "model-cas").symlink_to("model-cas")
    with pytest.raises(CacheError, match="trusted-keys cannot be read"):
        open_store(str(tmp_path))
    (tmp_path / "model-cas").unlink()
    (tmp_path / "model-cas").write_text("")  # no folder: nothing can be in it
    assert open_store(str(tmp_path)).trust is None


def test_a_relative_folder_of_configuration_does_not_hide_trusted_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ".config/model-cas/trusted-keys"
    file.parent.mkdir(parents=True)
    file.write_text(f"key {key(1).public.line()}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    trust = open_store(str(tmp_path)).trust
    assert trust is not None and list(trust.keys) == [key(1).public.id]


def test_a_store_behind_a_cache_has_the_same_trust_and_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "eu-west-1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CAS_TRUSTED_KEYS", key(1).public.line())
    store = open_store("s3://b/prod")
    store.signer = key(1)
    through = through_cdn(store, "https://cdn.example.com/prod", lambda event: None)
    assert through is not store
    assert (through.trust, through.signer, through.name) == (store.trust, store.signer, "s3://b/prod")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("s3://b/prod", "s3://b/prod"),
        ("S3://b/prod/", "s3://b/prod"),
        ("s3://profile@b/prod", "s3://b/prod"),
        ("s3://b", "s3://b"),
        ("az://c/p", "az://c/p"),
        ("gs://b/p", "gs://b/p"),
        ("https://cdn.example.com/cas/", "https://cdn.example.com/cas"),
        ("memory:", "memory:"),
        ("/no such/é", "file:///no%20such/%C3%A9"),
        ("file:///no%20such", "file:///no%20such"),
    ],
)
def test_a_store_is_called_by_its_url(url: str, name: str) -> None:
    assert canonical_name(url) == name


def test_a_directory_is_called_by_its_real_path(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert canonical_name(str(tmp_path / "link")) == (tmp_path / "real").resolve().as_uri()


@pytest.mark.parametrize("name", ["a\udcff", "a\x1bb"])
def test_a_name_that_is_no_text_of_one_line_signs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    store = open_store(str(tmp_path))
    store.create()
    store.signer = key(1)
    monkeypatch.setenv("CAS_STORE_NAME", name)
    with pytest.raises(InputError, match="no text of one line: set CAS_STORE_NAME"):
        RefLog(store, Ref("tags", "m", "latest")).append("a" * 64, "test")
    assert list(store.bucket.list("refs")) == []


def test_a_variable_says_what_a_store_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = open_store(str(tmp_path / "one")), open_store(str(tmp_path / "other"))
    monkeypatch.setenv("CAS_STORE_NAME", "s3://b/prod")
    assert one.name == other.name == "s3://b/prod"
    monkeypatch.setenv("CAS_STORE_NAME", f"{tmp_path}/one=s3://b/prod, file://{tmp_path}/other=s3://b/eu s3://rest")
    assert (one.name, other.name) == ("s3://b/prod", "s3://b/eu")
    assert open_store(str(tmp_path / "third")).name == "s3://rest"
    monkeypatch.setenv("CAS_STORE_NAME", "s3://b/prod s3://b/eu")
    with pytest.raises(InputError, match="CAS_STORE_NAME has two names"):
        _ = one.name


def test_buckets_of_one_name_behind_two_profiles_can_be_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    assert store_name("s3://eu@b/p") == store_name("s3://us@b/p") == "s3://b/p"
    monkeypatch.setenv("CAS_STORE_NAME", "s3://b/p=s3://b/all,s3://us@b/p=s3://b/us,s3://other@b/p=s3://b/other")
    names = [store_name(url) for url in ("s3://b/p", "s3://eu@b/p", "s3://us@b/p")]
    assert names == ["s3://b/all", "s3://b/all", "s3://b/us"]


@pytest.mark.parametrize("url", ["a b,c=d%20.cas", "standard input", "/srv/é", "s3://b/p", "s3://us@b/p"])
def test_a_name_can_be_set_as_errors_write_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAS_STORE_NAME", f"s3://rest {name_setting(url, 's3://b/prod')}")
    assert (store_name(url), store_name("/elsewhere")) == ("s3://b/prod", "s3://rest")
