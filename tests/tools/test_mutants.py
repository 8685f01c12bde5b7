"""The list of mutants fits the code, and the tool that runs them tells survivors from mutants that a test noticed."""

from __future__ import annotations

import subprocess

import pytest

from tools.mutants.code_copy import CodeCopy
from tools.mutants.mutant import Mutant, areas, problems_of, read_area

CODE = "def total(values):\n    while values:\n        return sum(values)\n    return 0\n"
TESTS = "from totals import total\n\n\ndef test_total():\n    assert total([1, 2]) == 3\n"


def mutant(**changed: object) -> Mutant:
    fields = {
        "area": "a",
        "file": "cas/version.py",
        "why": "it is wrong",
        "old": "= ",
        "new": "=  ",
        "tests": ("tests",),
    }
    return Mutant(**{**fields, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize("area", areas())
def test_every_mutant_fits_the_code(area: str) -> None:
    assert [problem for listed in read_area(area) for problem in problems_of(listed)] == []


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (mutant(file="cas/gone.py"), "no file"),
        (mutant(old="text that is gone"), "0 times"),
        (mutant(old="e"), "times, not once"),
        (mutant(new="= ("), "never closed"),
        (mutant(new="= "), "changes nothing"),
        (mutant(tests=()), "no test"),
        (mutant(tests=("tests/gone.py",)), "there is no tests/gone.py"),
        (mutant(tests=("tests/test_layout.py::test_gone",)), "has no test_gone"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mutant_that_no_longer_fits_is_told(wrong: Mutant, told: str) -> None:
    (problem,) = problems_of(wrong)
    assert told in problem


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> CodeCopy:
    """A copy of a repository with one function and its test."""
    root = tmp_path_factory.mktemp("root")
    (root / "totals.py").write_text(CODE)
    (root / "test_totals.py").write_text(TESTS)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    return CodeCopy(root, tmp_path_factory.mktemp("copy"))


@pytest.mark.parametrize(
    ("old", "new", "seconds", "verdict"),
    [
        ("sum(values)", "max(values)", 300, "noticed by test_totals.py::test_total"),
        ("return 0", "return 1", 300, ""),
        ("return sum(values)", "pass", 1, "noticed (hang)"),
    ],
    ids=["a test fails", "it survives", "a test never ends"],
)
def test_a_mutant_is_noticed_or_survives(copied: CodeCopy, old: str, new: str, seconds: int, verdict: str) -> None:
    tried = mutant(file="totals.py", old=old, new=new, tests=("test_totals.py",))
    assert copied.verdict_on(tried, seconds) == verdict
    assert problems_of(tried, copied.code) == [], "the change was taken back"
