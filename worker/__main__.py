"""`python -m worker`: restores the model while the imports run, loads it, and answers jobs."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cas import config
from cas.errors import CasError
from worker import imports
from worker.boot import device, fitness, process, unfit
from worker.boot.boot import Boot
from worker.boot.messages import Restored
from worker.errors import describe_error
from worker.log import Printable, logger
from worker.model import publish_process

if TYPE_CHECKING:
    from worker.jobs.upload import Uploader
    from worker.jobs.voices import Voices


_TERMINATED = 128 + signal.SIGTERM


def main() -> None:
    """Answer jobs until the platform ends the worker; exit with the code of the error if it cannot start."""
    # The first process of a container gets SIGTERM only if it has a handler. While it answers jobs, the SDK has one.
    signal.signal(signal.SIGTERM, _end_at_once)
    # For libraries; the worker's own lines are those of worker/log.py.
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(Printable("%(levelname)s %(name)s: %(message)s"))
    config.clean_environment()
    process.end_forks_with_this()
    try:
        boot = Boot.start()
        try:
            serve = _ready(boot)
        except BaseException:
            boot.stop()
            raise
    except CasError as error:
        logger.warning(str(error))
        unfit.report(str(error), error.exit_code)
        _end(error.exit_code)
    except Exception as error:
        unfit.report(describe_error(error), 1)
        raise
    serve()


def _ready(boot: Boot) -> Callable[[], None]:
    """Import, load the model and warm it up; return the function that answers jobs until the end."""
    # At the SDK's default level, debug, its log holds whole answers: audio, and URLs that open it.
    os.environ.setdefault("RUNPOD_DEBUG_LEVEL", "INFO")
    with boot.phases.measure("imports"), imports.hurried():
        import runpod

        from worker.jobs import serving
        from worker.model.early_work import EarlyWork
        from worker.speech import model_files
    early = EarlyWork(boot.arrivals, boot.phases, lambda: device.choose(boot.settings.device))
    restored = boot.wait()
    try:
        with boot.phases.measure("load"):
            speaker = early.finish(model_files.of_version(restored.files))
        with boot.phases.measure("warm-up"):
            speaker.warm_up(briefly=early.is_warm)
        with boot.phases.measure("handler"):
            handler = _handler(speaker, restored, runpod)
    except Exception as error:
        boot.failed(error)
        raise
    once = _PublishOnce(restored)
    config = serving.configuration(handler, stream=boot.settings.stream, after_answer=once.begin)

    def ready() -> None:
        boot.ready(device.describe(early.device))

    def serve() -> None:
        if fitness.are_run():
            fitness.measure(runpod.serverless.register_fitness_check, boot.phases, ready)
        else:
            ready()
        try:
            serving.serve(config)
        finally:
            once.end()

    return serve


def _handler(speaker: Any, restored: Restored, runpod: Any) -> Any:
    from worker.jobs.handler import Handler
    from worker.speech import sound

    voices, upload = _bucket(config.bucket_name())
    return Handler(
        speaker,
        digest=restored.version.rpartition("@")[2],
        encode=sound.encode,
        shorten=sound.without_silence,
        voices=voices,
        upload=upload,
        progress=runpod.serverless.progress_update,
    )


def _bucket(name: str) -> tuple[Voices | None, Uploader | None]:
    """Return what jobs use of the bucket; None where it cannot be opened: the model may have come from elsewhere."""
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


class _PublishOnce:
    """Starts the background publish after the first result: until then a job waits for the processor."""

    def __init__(self, restored: Restored) -> None:
        self._restored, self._lock, self._begun = restored, threading.Lock(), False
        self._publish: process.Child | None = None

    def begin(self, output: dict[str, Any]) -> None:
        if "error" in output:
            return
        with self._lock:
            if self._begun:
                return
            self._begun = True
        # Referenced for the life of the worker: the process ends when the pipe to its standard input is collected.
        self._publish = publish_process.start(self._restored)

    def end(self) -> None:
        """Let go of the store before the worker ends: while a publish holds its lease, no collector sweeps."""
        publish_process.end(self._publish)


def _end_at_once(*_: object) -> None:
    # Not SystemExit, which the import that is under way may take for an error of its own. The children end, too.
    os._exit(_TERMINATED)


def _end(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit(): it would wait for threads of the store's client that are in the middle of a request.
    os._exit(code)


if __name__ == "__main__":
    main()
