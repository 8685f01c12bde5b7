"""Answers RunPod's jobs with its SDK, and ends as soon as it is told to.

    serve(handler, …)   the SDK takes jobs, has the handler answer them, and sends the answers
    SIGTERM             no further job is taken, what is in flight is answered, then `serve` returns

The SDK waits for jobs in requests that the platform answers after up to 90 seconds, and its loop ends only between two
of them: `_ends_at_once` cuts them, a little later for a job that the platform has given out just then. The SDK takes
`refresh_worker` out of a plain answer, which has the platform stop the pod, and drops it from what a generator yields;
a worker that is told so by its configuration also takes no more jobs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from worker.jobs.handler import Handler, Job, Output, Part
from worker.log import logger

# Seconds for a job that the platform gave out before it was known here that the worker ends: nobody else would get it.
_ON_ITS_WAY = 1.0

AfterAnswer = Callable[[Output], None]
"""Is given each job's last output, once that is made."""


def configuration(handler: Handler, *, stream: bool, after_answer: AfterAnswer) -> dict[str, Any]:
    """Return what `runpod.serverless.start` is given.

    Args:
        handler: answers the jobs.
        stream: answer them as a generator.
        after_answer: is called after each job.
    """
    config: dict[str, Any] = {}

    def noted(output: Part) -> Part:
        # The SDK looks at the configuration after each job, whatever kind of handler made the answer.
        if isinstance(output, dict) and output.get("refresh_worker"):
            config["refresh_worker"] = True
        return output

    async def answer(job: Job) -> Output:
        output = await handler(job)
        noted(output)
        after_answer(output)
        return output

    async def parts(job: Job) -> AsyncIterator[Part]:
        output: Part = {"error": "nothing was said"}
        async for output in handler.stream(job):
            yield noted(output)
        # A text is an event of a stream that went well (worker/jobs/shapes.py).
        after_answer(output if isinstance(output, dict) else {})

    config["handler"] = parts if stream else answer
    if stream:
        config["return_aggregate_stream"] = True
    return config


def serve(config: dict[str, Any]) -> None:
    """Answer jobs until the platform ends the worker, or the worker asks to be replaced.

    Args:
        config: as `configuration` returns it.
    """
    import runpod
    from runpod.serverless.modules import rp_scale

    rp_scale.JobScaler = _ends_at_once(rp_scale.JobScaler)
    runpod.serverless.start(config)


def _ends_at_once(scaler: Any) -> Any:
    """Return the SDK's class of the loop that takes and answers jobs, with requests that end when it is told to end."""

    class EndsAtOnce(scaler):  # type: ignore[misc]
        def __init__(self, config: dict[str, Any]) -> None:
            super().__init__(config)
            self._told_to_end = asyncio.Event()

        def kill_worker(self) -> None:
            logger.info("told to end: no further job is taken, and the one in flight is answered")
            super().kill_worker()
            self._told_to_end.set()
            # A signal may come while the loop waits for something else to happen, or before it runs at all.
            with contextlib.suppress(RuntimeError):
                asyncio.get_running_loop().call_soon_threadsafe(_nothing)

        async def get_jobs(self, session: Any) -> None:
            await self._until_told(super().get_jobs(session), _ON_ITS_WAY)

        async def monitor_stop_signals(self, session: Any) -> None:
            await self._until_told(super().monitor_stop_signals(session))

        async def _until_told(self, polling: Coroutine[Any, Any, None], longer: float = 0.0) -> None:
            task, told = asyncio.ensure_future(polling), asyncio.ensure_future(self._told_to_end.wait())
            await asyncio.wait([task, told], return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await asyncio.wait([task], timeout=longer)
            for each in (task, told):
                each.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    return EndsAtOnce


def _nothing() -> None:
    pass
