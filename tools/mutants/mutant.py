"""Mutants: deliberate wrong changes of the code, each of which a test must notice.

They are listed by area in the `.toml` files of this folder:

    [[mutant]]
    file = "cas/store/leases.py"
    why = "leases are judged by this machine's clock"   what the change does wrong
    old = "text found exactly once in the file"
    new = "its replacement"
    tests = ["tests/store/test_leases.py"]              files, folders or ids that must notice
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent

_FIELDS = {"file", "why", "old", "new", "tests"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One wrong change.

    Attributes:
        area: the name of its `.toml` file.
        file: the changed file, relative to the repository.
        why: what the change does wrong.
        old: text found exactly once in the file.
        new: its replacement.
        tests: files, folders or ids of tests that must notice the change.
    """

    area: str
    file: str
    why: str
    old: str
    new: str
    tests: tuple[str, ...]

    def apply(self, root: Path) -> str:
        """Return the file's text with the change; raise ValueError when `old` is not in it exactly once."""
        text = (root / self.file).read_text("utf-8")
        if (found := text.count(self.old)) != 1:
            raise ValueError(f"{self.file} has the text to be replaced {found} times, not once: {self.old!r}")
        return text.replace(self.old, self.new)

    def line(self, root: Path) -> int:
        """Return the number of the first changed line."""
        before = (root / self.file).read_text("utf-8").split(self.old)[0]
        return before.count("\n") + 1


def areas(folder: Path = FOLDER) -> list[str]:
    """Return the names of the areas that have mutants."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def read_area(area: str, folder: Path = FOLDER) -> list[Mutant]:
    """Return the mutants of an area, in the order of its file; raise ValueError for an entry with wrong fields."""
    with (folder / f"{area}.toml").open("rb") as file:
        entries = tomllib.load(file)["mutant"]
    for entry in entries:
        if entry.keys() != _FIELDS:
            raise ValueError(f"{area}.toml: a mutant has {sorted(entry)}, not {sorted(_FIELDS)}")
    return [Mutant(area=area, **{**entry, "tests": tuple(entry["tests"])}) for entry in entries]


def problems_of(mutant: Mutant, root: Path = ROOT) -> list[str]:
    """Return what is wrong with a mutant: it no longer fits the code, does not compile, or names no test."""
    if not (root / mutant.file).is_file():
        return [f"there is no file {mutant.file}"]
    try:
        compile(mutant.apply(root), mutant.file, "exec", dont_inherit=True)
    except (ValueError, SyntaxError) as error:
        return [f"{mutant.why}: {error}"]
    problems = [] if mutant.old != mutant.new else [f"{mutant.why}: it changes nothing"]
    if not mutant.tests:
        problems.append(f"{mutant.why}: it names no test")
    for test in mutant.tests:
        path, *names = test.split("::")
        if not (root / path).exists():
            problems.append(f"{mutant.why}: there is no {path}")
        elif missing := [name for name in names if name.split("[")[0] not in (root / path).read_text("utf-8")]:
            problems.append(f"{mutant.why}: {path} has no {missing[0]}")
    return problems
