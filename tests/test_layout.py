"""The layout of the code: few names in a folder, short files, empty packages, and tests in folders like the code's."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(path for name in ("cas", "worker", "tools", "tests") for path in (ROOT / name).rglob("*.py"))
EXPORTING = {"cas", "cas/bucket", "cas/refs", "cas/cli"}
"""Packages of cas whose `__init__` exports names; the others are empty: an import loads only what it names."""
WITHOUT_CODE = {"attacks", "golden", "large", "support"}
"""Folders of tests/ that stand for no folder of the code: attacks through all of it, data, large models, helpers."""


def folders(parent: Path) -> set[str]:
    """Return the names of the packages directly below a folder."""
    return {path.parent.name for path in parent.glob("*/__init__.py")}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_cas_has_at_most_nine_folders_and_eight_modules() -> None:
    assert len(folders(ROOT / "cas")) <= 9
    assert len(list((ROOT / "cas").glob("*.py"))) <= 8


def test_no_python_file_is_longer_than_300_lines() -> None:
    lengths = {relative(path): len(path.read_text("utf-8").splitlines()) for path in FILES}
    assert {name: length for name, length in lengths.items() if length > 300} == {}


def test_packages_are_empty_but_for_a_line_of_docstring_outside_cas() -> None:
    packages = [path for path in FILES if path.name == "__init__.py" and relative(path.parent) not in EXPORTING]
    texts = {relative(path): path.read_text("utf-8") for path in packages}
    filled = {name: text for name, text in texts.items() if text}
    assert {name for name in filled if name.startswith("cas/")} == set()
    assert {name for name, text in filled.items() if text.count("\n") != 1 or not text.startswith('"""')} == set()


def test_modules_say_what_they_are() -> None:
    modules = (path for path in FILES if path.stat().st_size)
    assert [relative(path) for path in modules if not path.read_text("utf-8").startswith(('"""', 'r"""'))] == []


@pytest.mark.parametrize(
    ("tests", "code"),
    [("tests", "cas"), ("tests/ops", "cas/ops"), ("tests/worker", "worker"), ("tests/tools", "tools")],
)
def test_tests_stand_in_the_folders_of_the_code(tests: str, code: str) -> None:
    tops = {"tools", "worker"} | WITHOUT_CODE if tests == "tests" else set()
    assert folders(ROOT / tests) - folders(ROOT / code) - tops == set()
