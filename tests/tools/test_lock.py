"""Lock files: each pin has the hashes of its files, and no address of a registry."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from tools.lock import REQUIREMENTS, divided, pins, with_hashes

A, B = (f"--hash=sha256:{letter * 64}" for letter in "ab")
COMPILED = f"pyyaml==6.0 ; sys_platform == 'linux' \\\n    {B} \\\n    {A}\nruamel-yaml==1 \\\n    {A}\n"
BARE = 'ruamel.yaml==1\n# why\nPyYAML==6.0; sys_platform == "linux"\n'
HASHED = f'# why\nruamel.yaml==1 \\\n    {A}\nPyYAML==6.0; sys_platform == "linux" \\\n    {A} \\\n    {B}\n'


@pytest.mark.parametrize("lock", sorted(REQUIREMENTS.glob("*.lock")), ids=lambda path: path.name)
def test_each_pin_has_hashes(lock: Path) -> None:
    text = lock.read_text()
    line = r"[\w.-]+==[\w.]+(; [^\\\n]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+"
    assert re.fullmatch(rf"(#.*\n|{line}\n)+", text), "an entry without a hash, or an address"
    assert "://" not in text


@pytest.mark.parametrize("text", [BARE, HASHED])
def test_names_markers_and_comments_stay(text: str) -> None:
    assert with_hashes(text, COMPILED) == HASHED
    assert list(pins(text)) == ["ruamel.yaml==1", 'PyYAML==6.0; sys_platform == "linux"']


def test_a_pin_that_the_registry_does_not_tell_is_an_error() -> None:
    with pytest.raises(KeyError, match="other"):
        with_hashes("other==1\n", COMPILED)


FROZEN = "torch==2.11.0\nnvidia-nccl-cu13==2.28\nPyYAML==6.0\nema-pytorch==0.8\nscipy==1.17\n"
NAMED = ["# why\ntorch==2.11.0\nnvidia_nccl_cu13; sys_platform == 'linux'\n", "pyyaml>=5\n", "ema_pytorch\n"]


def test_what_was_installed_is_divided_by_name_and_the_last_gets_the_rest() -> None:
    assert divided(FROZEN, NAMED) == [
        "nvidia-nccl-cu13==2.28; sys_platform == 'linux'\ntorch==2.11.0\n",
        "PyYAML==6.0\n",
        "ema-pytorch==0.8\nscipy==1.17\n",
    ]


@pytest.mark.parametrize("named", [["torch\n", "torch\n"], ["numpy\n"]], ids=["twice", "not installed"])
def test_a_package_is_in_one_lock_file_and_was_installed(named: list[str]) -> None:
    with pytest.raises(KeyError):
        divided(FROZEN, named)


def test_the_workers_lock_files_have_what_their_requirements_name() -> None:
    names = ("clients", "torch", "worker", "reference")
    found = [list(pins((REQUIREMENTS / f"{name}.lock").read_text())) for name in names]
    named = [(REQUIREMENTS / f"{name}.in").read_text() for name in names]
    frozen = "\n".join(pin.partition(";")[0] for lock in found for pin in lock)
    assert [text.splitlines() for text in divided(frozen, named)] == [sorted(lock, key=str.lower) for lock in found]


def test_make_installs_nothing_without_a_hash() -> None:
    makefile = (REQUIREMENTS.parent / "Makefile").read_text()
    recipes = re.sub(r"^lock:\n(\t.*\n)+", "", makefile, flags=re.MULTILINE)  # which finds out the versions
    installs = re.findall(r"^\t.*(?:\$\(PIP\)|pip install).*", recipes, flags=re.MULTILINE)
    assert len(installs) >= 8
    for line in installs:
        assert "$(LOCKED)/" in line or line.endswith("--no-build-isolation --editable ."), (
            "pip would take what it finds"
        )


def test_what_builds_this_project_is_locked_in_the_versions_of_the_tests() -> None:
    project = tomllib.loads((REQUIREMENTS.parent / "pyproject.toml").read_text())
    backend, dev = (set(pins((REQUIREMENTS / name).read_text())) for name in ("backend.lock", "dev.lock"))
    assert backend <= dev
    for requirement in project["build-system"]["requires"]:
        assert re.split(r"[<>=~!]", requirement)[0] in {pin.partition("==")[0] for pin in backend}


def test_what_npm_installs_has_hashes_too() -> None:
    """`npm ci` compares them; without one it would take what the registry gives."""
    listed = json.loads((REQUIREMENTS / "npm/package-lock.json").read_text())["packages"]
    names = [name for name in listed if name]  # the entry without a name is the project itself
    assert len(names) > 100
    assert [name for name in names if not listed[name].get("integrity", "").startswith("sha512-")] == []
