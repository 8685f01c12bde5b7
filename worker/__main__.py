"""`python -m worker`: brings the model here while the imports run, loads it, and answers jobs."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cas.errors import CasError
from worker.boot import device, imports, process
from worker.boot.boot import Boot, BootFailed
from worker.boot.messages import Restored
from worker.log import logger
from worker.model import publish_process

if TYPE_CHECKING:
    from worker.jobs.upload import Uploader
    from worker.jobs.voices import Voices


_TERMINATED = 128 + signal.SIGTERM


def main() -> None:
    """Serves until the platform ends it; exits with the code of what went wrong when it cannot begin."""
    # The first process of a container hears SIGTERM only if it listens; while it serves, the SDK does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    process.end_forks_with_this()
    try:
        boot = Boot.start()
        try:
            serve = _ready(boot)
        except BaseException:
            boot.stop()
            raise
    except BootFailed as failed:
        logger.warning(str(failed))
        _end(failed.exit_code)
    except CasError as error:
        logger.warning(str(error))
        _end(error.exit_code)
    serve()


def _ready(boot: Boot) -> Callable[[], None]:
    """Imports, loads and warms up; returns what serves."""
    # Its debug log, on unless told otherwise, holds whole answers: audio, and URLs that open it.
    os.environ.setdefault("RUNPOD_DEBUG_LEVEL", "INFO")
    with boot.phases.measure("imports"), imports.hurried():
        import runpod
        import torch  # noqa: F401 (takes seconds, which are to be found under this name)

        from worker.speech import f5
    booted = boot.wait()
    try:
        chosen = device.choose(boot.settings.device)
        with boot.phases.measure("load"):
            speaker = f5.load(Path(os.environ["HF_HUB_CACHE"]), chosen, must_be_verified=booted.complete)
        with boot.phases.measure("warm-up"):
            speaker.warm_up()
        handler = _handler(speaker, booted, runpod)
    except Exception as error:
        boot.failed(error)
        raise
    boot.ready(device.describe(chosen))
    config: dict[str, Any] = {"handler": _publishing(handler, booted)}
    if boot.settings.stream:
        config = {"handler": _publishing_stream(handler.stream, booted), "return_aggregate_stream": True}
    return lambda: runpod.serverless.start(config)


def _handler(speaker: Any, booted: Restored, runpod: Any) -> Any:
    from worker.jobs.handler import Handler
    from worker.speech import sound

    voices, upload = _bucket(os.environ.get("S3_BUCKET"))
    return Handler(
        speaker,
        digest=booted.version.rpartition("@")[2],
        encode=sound.encode,
        shorten=sound.without_silence,
        voices=voices,
        upload=upload,
        progress=runpod.serverless.progress_update,
    )


def _bucket(name: str | None) -> tuple[Voices | None, Uploader | None]:
    """What jobs may use of the bucket: nothing where it cannot be, for the model may have come from elsewhere."""
    from cas.bucket import open_bucket
    from worker.jobs.upload import Uploader
    from worker.jobs.voices import Voices

    if not name:
        return None, None
    try:
        return Voices(open_bucket(f"s3://{name}")), Uploader(name)
    except CasError as error:
        logger.warning(f"no voices and no uploads: {error}")
        return None, None


class _Once:
    """Starts the background publish after the first result: until then a job waits for the processor."""

    def __init__(self, booted: Restored) -> None:
        self._booted, self._lock, self._begun = booted, threading.Lock(), False
        self._publish: object = None

    def begin(self, output: dict[str, Any]) -> None:
        if "error" in output:
            return
        with self._lock:
            if self._begun:
                return
            self._begun = True
        # It ends when the last reference to its standard input goes.
        self._publish = publish_process.start(self._booted)


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
