"""Lock files: each pin has the hashes of its files, and no address of a registry."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tools.lock import REQUIREMENTS, pins, with_hashes

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
