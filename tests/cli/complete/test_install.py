"""`cas completion --install`: the shells find the script by themselves, and what else is in their files stays."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cas.cli.complete import install
from tests.support.in_process import call_cas

PROBES = {
    "bash": ["bash", "-ic", "complete -p cas"],
    "zsh": ["zsh", "-ic", "print $_comps[cas]"],
    "fish": ["fish", "-c", "complete -C 'cas resto'"],
}
"""Asks a shell that has read its start files what completes `cas`; fish reads its file when it completes."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory, on a machine without bash-completion, and `cas` on the PATH."""
    monkeypatch.setattr(install, "_BASH_COMPLETION", ())
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    return tmp_path


def files(home: Path) -> dict[str, str]:
    return {str(path.relative_to(home)): path.read_text() for path in home.rglob("*") if path.is_file()}


@pytest.mark.parametrize("shell", sorted(PROBES))
def test_the_shell_finds_it(home: Path, shell: str) -> None:
    start_file = home / f".{shell}rc"
    start_file.write_text("export MINE=1")  # without a newline at its end
    done = call_cas("completion", "--install", env={"SHELL": f"/usr/bin/{shell}"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "to undo it, remove" in done.stdout
    before = files(home)
    again = json.loads(call_cas("--json", "completion", "--install", shell).stdout)
    assert (again["shell"], again["changed"], files(home)) == (shell, [], before)
    assert start_file.read_text().startswith("export MINE=1")
    assert start_file.read_text().count(install.LINE_MARK) == (shell != "fish")
    if shutil.which(shell):
        found = subprocess.run(PROBES[shell], check=False, capture_output=True, text=True, timeout=120)
        assert {"bash": "_cas_completion", "zsh": "_cas_completion", "fish": "restore"}[shell] in found.stdout, (
            found.stderr
        )


def test_the_default_store_is_made_all_the_same(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAS_STORE", raising=False)
    for shell in PROBES:
        assert call_cas("completion", "--install", shell).returncode == 0
    (home / "weights").mkdir()
    (home / "weights/a.bin").write_bytes(b"w")
    done = call_cas("publish", "m", "--dir", str(home / "weights"), "--as", "org/m")
    assert (done.returncode, f"made a new store at {home}/.local/share/model-cas" in done.stderr) == (0, True), done


def test_bash_completion_loads_its_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_BASH_COMPLETION", (str(home),))
    done = json.loads(call_cas("--json", "completion", "bash", "--install").stdout)
    assert done["start_file"] is None
    assert list(files(home)) == [".local/share/bash-completion/completions/cas"]


def test_a_file_of_somebody_else_is_left_alone(home: Path) -> None:
    theirs = home / ".config/fish/completions/cas.fish"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("complete -c cas -a mine")
    done = call_cas("completion", "--install", "fish")
    assert (done.returncode, theirs.read_text()) == (2, "complete -c cas -a mine")
    assert f"{theirs} is there, and is not of cas" in done.stderr


def test_the_shell_has_to_be_known(home: Path) -> None:
    for shell, told in (("/bin/csh", "SHELL is csh"), ("", "SHELL is not set")):
        done = call_cas("completion", "--install", env={"SHELL": shell})
        assert (done.returncode, files(home)) == (2, {})
        assert f"{told}: say which shell, as in `cas completion --install bash`" in done.stderr
    assert "name the shell" in call_cas("completion").stderr
