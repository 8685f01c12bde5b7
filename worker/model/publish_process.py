"""The background publish of what a worker had to take from Hugging Face: `python -m worker.publishing DIR`.

It uses little of the machine, fails no job, and leaves what it sent for the next one to go on with. The tag latest
moves at its end, so that it never names half a version.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from cas import config, events
from cas.errors import CasError, RefMoved, StoreError
from worker.boot import environment, process
from worker.boot.messages import Restored
from worker.boot.settings import Settings
from worker.errors import describe_error
from worker.log import logger

_TRIES = 5
_PAUSE = 15.0
_LIMITS = {"budget": 64 * config.MIB, "requests": 4, "uploads": 2, "workers": 1}


def start(booted: Restored) -> process.Child | None:
    """Publishes in a process of its own what a boot downloaded, if the store has no such version; raises nothing.

    To be called after the first result: until then a job waits for the processor. None when there is nothing to do.
    """
    if not booted.publish:
        return None
    try:
        # What it writes to standard output must not come between the worker's receipts.
        return process.start("worker.model.publish_process", booted.directory, stdout=2)
    except OSError as error:
        logger.warning(f"background publish cannot be started: {describe_error(error)}")
        return None


def main(directory: Path, pause: float = _PAUSE) -> int:
    """Publishes what `directory` holds; the exit code. pause: seconds between tries."""
    _step_back()
    from cas.cli.process import keep_memory_together, leave_cores_alone

    keep_memory_together()
    leave_cores_alone()
    settings = Settings.read()
    if not settings.store:
        logger.warning(f"background publish: {settings.no_store}")
        return 6
    environment.apply(directory)
    for left in reversed(range(_TRIES)):
        try:
            logger.info(_published(settings, settings.store, directory))
            return 0
        except RefMoved as error:
            logger.info(f"background publish: nothing was published, as somebody else chose: {error}")
            return 0
        except StoreError as error:
            if not left:
                return _failed(error)
            # Idle workers are frozen, and wake up with connections that are long gone: all clients are made anew.
            time.sleep(pause)
        except Exception as error:
            return _failed(error)
    raise AssertionError("unreachable")


def _published(settings: Settings, store: str, directory: Path) -> str:
    from cas.ops.publish import publisher
    from cas.ops.publish.publisher import Source
    from cas.refs.reflog import UNSET
    from cas.store.store import open_store

    done = publisher.publish(
        settings.model,
        Source.from_file(settings.source),
        open_store(store),
        cache_dir=environment.hub_of(directory),
        download=False,
        # Somebody may have chosen a version since this worker found none, or taken one away.
        expect=UNSET,
        limits=config.Limits(**_LIMITS),
        on_event=_listen,
    )
    what = f"sent {done.uploaded:,} bytes as {done.wire:,}" if done.uploaded_chunks else "all of it was there"
    return f"background publish: {done.reference} is in {store}; {what} ({done.seconds:.1f} s)"


def _listen(event: events.Event) -> None:
    if isinstance(event, events.Warned):
        logger.warning(f"background publish: {event.text}")


def _failed(error: Exception) -> int:
    logger.warning(f"background publish failed: {describe_error(error)}; the next worker goes on where it stopped")
    return error.exit_code if isinstance(error, CasError) else 1


def _step_back() -> None:
    """Lets everybody else go first: at the processor, and at the disk where there is a command for it."""
    with contextlib.suppress(OSError):
        os.nice(19)
    if ionice := shutil.which("ionice"):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            command = [ionice, "-c", "3", "-p", str(os.getpid())]
            subprocess.run(command, stderr=subprocess.DEVNULL, timeout=5, check=False)  # noqa: S603 (as found)


if __name__ == "__main__":
    process.Parent()
    code = main(Path(sys.argv[1]))
    sys.stderr.flush()
    os._exit(code)
