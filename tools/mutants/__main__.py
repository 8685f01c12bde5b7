"""Apply one wrong change at a time to a copy of the code and run the tests that must notice: `python -m tools.mutants`.

First the tests must pass on the unchanged copy. A hang counts as noticed: in the project's own runs, too, a test that
never ends fails. Exit code 1 says that some mutant survived.
"""

from __future__ import annotations

import argparse
import queue
import sys
import tempfile
import threading
import time
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
        copies = [CodeCopy(ROOT, Path(folder) / str(number)) for number in range(max(1, options.jobs))]
        survivors = _try_all(mutants, copies)
    for mutant in survivors:
        print(f"survived: {_title(mutant)}")
    noticed = len(mutants) - len(survivors)
    print(f"{noticed} of {len(mutants)} mutants were noticed ({noticed / max(1, len(mutants)):.1%})")
    return 1 if survivors else 0


def _try_all(mutants: list[Mutant], copies: list[CodeCopy]) -> list[Mutant]:
    """Return the mutants that survive; each copy of the code serves one mutant at a time."""
    free: queue.SimpleQueue[CodeCopy] = queue.SimpleQueue()
    for copy in copies:
        free.put(copy)
    printing = threading.Lock()

    def say(line: str) -> None:
        with printing:
            print(line, flush=True)

    def first_run(test: str) -> float:
        copy = free.get()
        try:
            begun = time.monotonic()
            code, output = copy.run((test,), _FIRST_RUN)
            if code != 0:  # a busy machine may fail a test once
                code, output = copy.run((test,), _FIRST_RUN)
            if code != 0:
                raise SystemExit(f"{output}\n{test} fails without any mutant (exit code {code}): nothing was tried")
            return time.monotonic() - begun
        finally:
            free.put(copy)

    def is_noticed(mutant: Mutant) -> bool:
        copy = free.get()
        try:
            begun = time.monotonic()
            verdict = copy.verdict_on(mutant, 60 + 5 * sum(usual[test] for test in mutant.tests))
            say(f"{verdict or 'SURVIVED'} [{time.monotonic() - begun:.0f} s] {_title(mutant)}")
            return bool(verdict)
        finally:
            free.put(copy)

    with ThreadPoolExecutor(len(copies)) as pool:
        tests = sorted({test for mutant in mutants for test in mutant.tests})
        usual = dict(zip(tests, pool.map(first_run, tests), strict=True))
        say(f"{len(tests)} test files pass without mutants [{sum(usual.values()):.0f} s]")
        return [mutant for mutant, noticed in zip(mutants, pool.map(is_noticed, mutants), strict=True) if not noticed]


def _title(mutant: Mutant) -> str:
    return f"{mutant.area}: {mutant.file}:{mutant.line(ROOT)}: {mutant.why}"


if __name__ == "__main__":
    sys.exit(main())
