"""Lock files: each pin has the hashes of its files, and no address of a registry."""

from __future__ import annotations

import re
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
