"""The RunPod SDK's fitness checks as the last phase of a boot: no job comes before they have passed.

Source: runpod 1.12, serverless/modules/rp_fitness.py, serverless/worker.py and serverless/__init__.py.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence

from cas.config import read
from worker.boot.cold_start import Phases
from worker.boot.messages import Step

Check = Callable[[], None]

_NO_QUEUE = ("--rp_serve", "--test_input")  # options of the SDK with which it takes no jobs from the platform


def are_run(environ: Mapping[str, str] | None = None, words: Sequence[str] = sys.argv) -> bool:
    """Return whether the SDK runs fitness checks: only a worker that takes jobs from the platform's queue has any.

    Args:
        environ: the variables; those of this process when None.
        words: the command line.
    """
    is_local = not read("RUNPOD_WEBHOOK_GET_JOB", environ) or any(word.startswith(_NO_QUEUE) for word in words)
    return not is_local and read("RUNPOD_REALTIME_PORT", environ) in ("", "0")


def measure(register: Callable[[Check], object], phases: Phases, passed: Callable[[], None]) -> None:
    """Record the checks as the phase `fitness`, which begins now; to be called just before the SDK takes over.

    The SDK appends checks of its own (GPU, memory, disk, network) to the registered ones before it runs the first, and
    runs also those that a check appends: what our first check registers comes last.

    Args:
        register: the SDK's register_fitness_check.
        phases: gets the phase.
        passed: called when all checks have passed; a check that fails ends the process, and nothing is called.
    """
    begun = time.monotonic()

    def first_check() -> None:
        register(last_check)

    def last_check() -> None:
        phases.add([Step("fitness", begun, time.monotonic() - begun)])
        passed()

    register(first_check)
