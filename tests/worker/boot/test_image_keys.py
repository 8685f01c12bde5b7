"""The public keys in a worker's image: they count beside the variable's, and a folder with anything else is refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from cas.errors import InputError
from tests.support.keys import make_key
from tests.worker.signed import SignedStation, signed
from tests.worker.station import ROOT, ended
from worker.boot.environment import KEYS, trust_keys_of_image

__all__ = ["signed"]

VARIABLE = "CAS_TRUSTED_KEYS"


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no key in the variable, and give it back as it was: what is tested sets it."""
    monkeypatch.setenv(VARIABLE, "")  # so that it is noted, also where it is not set
    monkeypatch.delenv(VARIABLE)


def trusted(folder: Path) -> str | None:
    trust_keys_of_image(folder)
    return os.environ.get(VARIABLE)


def test_keys_in_the_image_count_beside_those_of_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "keys"
    assert trusted(folder) is None, "no folder, no keys"
    folder.mkdir()
    (folder / "README.md").write_text("# Keys")
    assert trusted(folder) is None
    key = make_key(folder, "release")
    key.file.rename(tmp_path / "release.key")
    assert trusted(folder) == str(folder)
    assert trusted(folder) == str(folder), "once is enough"
    monkeypatch.setenv(VARIABLE, "/other.pub")
    assert trusted(folder) == f"/other.pub {folder}"
    monkeypatch.setenv(VARIABLE, "")
    assert trusted(folder) == "", "an empty variable stays the error that it is"


def test_a_folder_with_something_else_than_public_keys_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_key(tmp_path, "release")
    with pytest.raises(InputError, match=r"release\.key is in the folder of trusted keys"):
        trust_keys_of_image(tmp_path)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(InputError, match="cannot be read"):
        trust_keys_of_image(file)


def test_this_repository_trusts_nobody() -> None:
    assert KEYS.is_dir() and not list(KEYS.glob("*.pub"))


def test_a_worker_of_an_image_with_a_key_runs_nothing_else(signed: SignedStation, tmp_path: Path) -> None:
    """The image has the project's folders below /app, and no variable for the key."""
    for name in ("cas", "worker", "manifests"):
        shutil.copytree(ROOT / name, tmp_path / "app" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(signed.key.public, tmp_path / "app/manifests/keys")
    signed.move(signed.release("two", "f5-tts:two"), "f5-tts:latest")
    ran = ended(signed.station.start("-m", "worker.boot", env={"PYTHONPATH": str(tmp_path / "app")}))
    assert (ran.code, ran.receipt["exit_code"]) == (8, 8), ran.err
    (cause,) = ran.receipt["causes"]
    assert "f5-tts:latest" in cause and "entry 2 has no signature" in cause and signed.key.id in cause
    assert ran.errors == [f"worker: error: no model: {cause}"]
