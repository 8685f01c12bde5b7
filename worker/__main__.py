"""`python -m worker`: brings the model here while the imports run, loads it, and answers jobs."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from cas.errors import CasError
from worker import imports, publishing, telling
from worker.boot import Boot, BootFailed
from worker.outcome import Restored


def main() -> None:
    """Serves until the platform ends it; exits with the code of what went wrong when it cannot begin."""
    # The SDK forks a process for its heartbeat, which must not take this for the beginning of a worker.
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        boot = Boot.start()
        try:
            serve = _ready(boot)
        except BaseException:
            boot.stop()
            raise
    except BootFailed as failed:
        telling.warn(str(failed))
        _end(failed.exit_code)
    except CasError as error:
        telling.warn(str(error))
        _end(error.exit_code)
    serve()


def _ready(boot: Boot) -> Callable[[], None]:
    """Imports, loads and warms up; returns what serves."""
    with boot.phases.measure("imports"), imports.hurried():
        import runpod
        import torch

        from worker import f5
    booted = boot.wait()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with boot.phases.measure("load"):
        speaker = f5.load(Path(os.environ["HF_HUB_CACHE"]), device, must_be_verified=booted.complete)
    boot.ready()
    handler = _handler(speaker, booted, runpod)
    config: dict[str, Any] = {"handler": _publishing(handler, booted)}
    if boot.settings.stream:
        config = {"handler": _publishing_stream(handler.stream, booted), "return_aggregate_stream": True}
    return lambda: runpod.serverless.start(config)


def _handler(speaker: Any, booted: Restored, runpod: Any) -> Any:
    from cas.bucket import open_bucket
    from worker import sound
    from worker.handler import Handler
    from worker.upload import Uploader
    from worker.voices import Voices

    bucket = os.environ.get("S3_BUCKET")
    return Handler(
        speaker,
        digest=booted.version.rpartition("@")[2],
        encode=sound.encode,
        shorten=sound.without_silence,
        voices=Voices(open_bucket(f"s3://{bucket}")) if bucket else None,
        upload=Uploader(bucket) if bucket else None,
        progress=runpod.serverless.progress_update,
    )


class _Once:
    """Starts the background publish after the first result: until then a job waits for the processor."""

    def __init__(self, booted: Restored) -> None:
        self._booted, self._lock, self._begun = booted, threading.Lock(), False

    def begin(self, output: dict[str, Any]) -> None:
        if "error" in output:
            return
        with self._lock:
            if self._begun:
                return
            self._begun = True
        publishing.start(self._booted)


def _publishing(answer: Callable[[Any], Awaitable[dict[str, Any]]], booted: Restored) -> Any:
    once = _Once(booted)

    async def handle(job: Any) -> dict[str, Any]:
        output = await answer(job)
        once.begin(output)
        return output

    return handle


def _publishing_stream(answer: Callable[[Any], AsyncIterator[dict[str, Any]]], booted: Restored) -> Any:
    once = _Once(booted)

    async def handle(job: Any) -> AsyncIterator[dict[str, Any]]:
        output: dict[str, Any] = {"error": "nothing was said"}
        async for output in answer(job):
            yield output
        once.begin(output)

    return handle


def _end(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit(): threads of the store's client may be in the middle of a request.
    os._exit(code)


if __name__ == "__main__":
    main()
