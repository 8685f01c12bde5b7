"""Apply one wrong change at a time to a copy of the code and run the tests that must notice: `python -m tools.mutants`.

Before its tests are used, they must pass on the unchanged copy. A hang counts as noticed: in the project's own runs,
too, a test that never ends fails. Exit code 1 says that some mutant survived.
"""

from __future__ import annotations

import argparse
import contextlib
import queue
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.mutants.code_copy import CodeCopy
from tools.mutants.mutant import ROOT, Mutant, areas, problems_of, read_area

_FIRST_RUN = 900
"""Seconds that the tests of one mutant may take on the unchanged code."""


def main() -> int:
    """Run the mutants; print a line for each, the survivors and the score."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__)
    parser.add_argument("--only", action="append", metavar="AREA", choices=areas(), help="only this area's mutants")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="how many mutants are tried at a time")
    options = parser.parse_args()
    mutants = [mutant for area in options.only or areas() for mutant in read_area(area)]
    if problems := [problem for mutant in mutants for problem in problems_of(mutant)]:
        sys.exit("\n".join(problems))
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        runs = _Runs([CodeCopy(ROOT, Path(folder) / str(number)) for number in range(max(1, options.jobs))])
        with ThreadPoolExecutor(len(runs.copies)) as pool:
            noticed = list(pool.map(runs.is_noticed, mutants))
    survivors = [mutant for mutant, was_noticed in zip(mutants, noticed, strict=True) if not was_noticed]
    for mutant in survivors:
        print(f"survived: {_title(mutant)}")
    for test, output in runs.failing.items():
        print(f"{output}\n{test} fails without any mutant: its mutants count as survivors")
    score = noticed.count(True) / max(1, len(mutants))
    print(f"{noticed.count(True)} of {len(mutants)} mutants were noticed ({score:.1%})")
    return 1 if survivors else 0


class _Runs:
    """The runs of tests in copies of the code, each of which serves one run at a time.

    Attributes:
        copies: of the code.
        failing: test files that fail on unchanged code, with what pytest printed.
    """

    def __init__(self, copies: list[CodeCopy]) -> None:
        self.copies = copies
        self.failing: dict[str, str] = {}
        self._free: queue.SimpleQueue[CodeCopy] = queue.SimpleQueue()
        for copy in copies:
            self._free.put(copy)
        self._seconds: dict[str, float] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def is_noticed(self, mutant: Mutant) -> bool:
        """Try one mutant, and print what came of it."""
        usual = sum(self._usual(test) for test in mutant.tests)
        failing = any(test in self.failing for test in mutant.tests)
        begun = time.monotonic()
        with self._copy() as copy:
            verdict = "" if failing else copy.verdict_on(mutant, 60 + 5 * usual)
        print(f"{verdict or 'SURVIVED'} [{time.monotonic() - begun:.0f} s] {_title(mutant)}\n", end="", flush=True)
        return bool(verdict)

    def _usual(self, test: str) -> float:
        """Return the seconds that a test file takes on the unchanged code, where it must pass."""
        with self._locks[test]:
            for _ in range(2):  # a busy machine may fail a test once
                if test in self._seconds:
                    break
                begun = time.monotonic()
                with self._copy() as copy:
                    code, output = copy.run((test,), _FIRST_RUN)
                if code == 0:
                    self._seconds[test] = time.monotonic() - begun
                    self.failing.pop(test, None)
                else:
                    self.failing[test] = output
            return self._seconds.setdefault(test, 0.0)

    @contextlib.contextmanager
    def _copy(self) -> Iterator[CodeCopy]:
        copy = self._free.get()
        try:
            yield copy
        finally:
            self._free.put(copy)


def _title(mutant: Mutant) -> str:
    return f"{mutant.area}: {mutant.file}:{mutant.line(ROOT)}: {mutant.why}"


if __name__ == "__main__":
    sys.exit(main())
