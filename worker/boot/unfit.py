"""Tells RunPod, and the senders of waiting jobs, why a worker cannot start: `python -m worker.boot.unfit CODE REASON`.

    where every worker of the endpoint would fail in the same way:
        answer the jobs that wait with the reason
    have a fitness check of the SDK fail: it reports the reason to the platform, and ends the process with code 1

This is done in a process of its own: so the worker can exit with its own code, and what a failed boot leaves behind,
such as threads in the middle of a request, is not in the way. docs/decisions/0037-a-boot-that-fails.md has the reasons.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from cas.config import read
from cas.errors import FormatError, InputError, NotFoundError, SignatureError
from worker import imports
from worker.boot import fitness, process
from worker.errors import describe_error
from worker.log import logger

_TO_REPORT = ("RUNPOD_WEBHOOK_PING", "RUNPOD_AI_API_KEY")
"""Variables that RunPod sets for a worker, without which the SDK has nobody to report to."""

_OF_THE_ENDPOINT = frozenset(error.exit_code for error in (InputError, NotFoundError, FormatError, SignatureError))
"""Exit codes of failures that last until somebody changes a setting or the model, or signs it. All others may be this
machine's or this moment's: another worker may answer the jobs."""

_LONGEST = 1000  # characters; of these the SDK reports 256
_WITHIN = 60.0  # seconds for all of it
_ANSWERING, _QUIET = 30.0, 3.0  # seconds for all jobs that wait, and for the platform to give the next one


def report(reason: str, code: int) -> None:
    """Tell RunPod why this worker cannot start, where it runs there; raises nothing.

    Args:
        reason: one line, without a secret.
        code: the code with which the worker will exit.
    """
    if not fitness.are_run() or not all(read(name) for name in _TO_REPORT):
        return
    try:
        # Standard output is for receipts alone, and the SDK prints there.
        child = process.start("worker.boot.unfit", str(code), reason[:_LONGEST], stdout=2)
    except OSError as error:
        logger.warning(f"RunPod cannot be told of it: {describe_error(error)}")
        return
    try:
        child.wait(timeout=_WITHIN)
    except subprocess.TimeoutExpired:
        logger.warning(f"RunPod was not told of it within {_WITHIN:g} s")
        child.kill()


class CannotStart(Exception):
    """What the fitness check raises: the SDK reports the name of this class and the text."""


def main(code: int, reason: str) -> None:
    """Answer the jobs that wait, if the failure is the endpoint's, and report the reason; ends this process."""
    import asyncio

    os.environ.setdefault("RUNPOD_DEBUG_LEVEL", "INFO")
    with imports.hurried():
        import runpod

    if code in _OF_THE_ENDPOINT:
        try:
            asyncio.run(asyncio.wait_for(_answer_jobs(code, reason), _ANSWERING))
        except Exception as error:  # whatever it is, the report below is still to be made
            logger.warning(f"the jobs that wait were not all answered: {describe_error(error)}")

    def boot_of_the_worker() -> None:
        raise CannotStart(f"exit code {code}: {reason}")

    runpod.serverless.register_fitness_check(boot_of_the_worker)
    runpod.serverless.start({"handler": boot_of_the_worker})


async def _answer_jobs(code: int, reason: str) -> None:
    import asyncio

    from runpod.http_client import AsyncClientSession
    from runpod.serverless.modules.rp_job import get_job, handle_job

    answer = f"no worker of this endpoint can start: {reason} (exit code {code}): correct that, then send the job again"

    async def refuse(_job: Any) -> dict[str, Any]:
        return {"error": answer}

    async with AsyncClientSession() as session:
        while True:
            try:
                jobs = await asyncio.wait_for(get_job(session), _QUIET)
            except TimeoutError:
                return
            if not jobs:
                return
            for job in jobs:
                await handle_job(session, {"handler": refuse}, job)


if __name__ == "__main__":
    process.Parent()
    main(int(sys.argv[1]), sys.argv[2])
