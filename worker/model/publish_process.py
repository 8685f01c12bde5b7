"""The background publish of a model that came from Hugging Face: `python -m worker.model.publish_process DIR`.

It uses little of the machine, and no job fails because of it. If it is interrupted, the next publish need not send
again what this one has sent. It sets the tag latest at its end, so that latest never names half a version. Where keys
are trusted, a worker has none to sign with: then the version is stored, and the tag is left to `cas sign`.

It holds a lease, for which a collector waits. When the worker ends, or is told to, the publish ends its lease first;
where both are killed, the lease runs out after a minute.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cas
from cas import events, host
from cas.config import read
from cas.errors import CasError, RefMoved, SignerMissing, StoreError
from worker.boot import environment, process
from worker.boot.messages import Restored
from worker.boot.settings import Settings
from worker.errors import describe_error
from worker.log import logger

_TRIES = 5
_WAKES = 20  # how often an idle worker may be frozen, for longer than its lease lasts, until the publish is given up
_PAUSE = 15.0
_END_WITHIN = 3.0  # seconds to end the lease in: RunPod kills a worker soon after it told it to end
_LEASE = 60  # seconds; a command's counts ten minutes, but workers are killed every day
_LIMITS = {"budget": 64 * host.MIB, "requests": 4, "uploads": 2, "workers": 1}


def start(restored: Restored) -> process.Child | None:
    """Start a process that publishes what a boot downloaded, if the boot found that the store has no such version.

    To be called after the first result, as until then a job waits for the processor. Raises nothing.

    Args:
        restored: the result of the boot.

    Returns:
        The process; None when there is nothing to publish, or when it cannot be started.
    """
    if not restored.publish:
        return None
    try:
        # Its standard output goes to standard error: the worker's own is for receipts alone.
        return process.start("worker.model.publish_process", restored.directory, stdout=2)
    except OSError as error:
        logger.warning(f"background publish cannot be started: {describe_error(error)}")
        return None


def end(child: process.Child | None) -> None:
    """Have a background publish end its lease, and wait for it a moment.

    Args:
        child: as `start` returned it.
    """
    if child is None:
        return
    with contextlib.suppress(OSError):
        assert child.stdin
        child.stdin.close()  # the end of its parent, as far as it can tell
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(timeout=_END_WITHIN)


def main(directory: Path, pause: float = _PAUSE) -> int:
    """Publish the model in a cache directory; the exit code.

    Args:
        directory: the cache directory.
        pause: seconds between tries.
    """
    _lower_priority()
    from cas.cli.process import keep_memory_together, leave_cores_alone
    from cas.store.lease_entries import LeaseLost

    keep_memory_together()
    leave_cores_alone()
    settings = Settings.read()
    if not settings.store:
        logger.warning(f"background publish: {settings.no_store}")
        return 6
    environment.apply(directory)
    os.environ["CAS_LEASE_SECONDS"] = read("CAS_LEASE_SECONDS") or str(_LEASE)
    tries, wakes = _TRIES, _WAKES
    while True:
        try:
            logger.info(_publish(settings, settings.store, directory))
            return 0
        except RefMoved as error:
            logger.info(f"background publish: nothing was published, as somebody else chose: {error}")
            return 0
        except SignerMissing as error:
            logger.info(f"background publish: {error}")
            return 0
        except StoreError as error:
            if isinstance(error, LeaseLost):
                wakes -= 1
            else:
                tries -= 1
            if not tries or not wakes:
                return _failed(error)
            # An idle worker is frozen, and its connections are gone when it wakes up: the next try makes new clients.
            time.sleep(pause)
        except Exception as error:
            return _failed(error)


def _publish(settings: Settings, store: str, directory: Path) -> str:
    from cas.refs.reflog import UNSET

    done = cas.publish(
        settings.model,
        cas.Source.from_file(settings.source),
        cas.open_store(store),
        cache_dir=environment.hub_of(directory),
        download=False,
        # Set latest only if it is still unset: since the boot somebody may have set or removed it.
        expect=UNSET,
        limits=host.Limits(**_LIMITS),
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


def _lower_priority() -> None:
    """Let all other processes go first: at the processor, and at the disk where there is a command for it."""
    with contextlib.suppress(OSError):
        os.nice(19)
    if ionice := shutil.which("ionice"):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            command = [ionice, "-c", "3", "-p", str(os.getpid())]
            subprocess.run(command, stderr=subprocess.DEVNULL, timeout=5, check=False)  # noqa: S603 (as found)


def _interrupt() -> None:
    """Raise KeyboardInterrupt in the main thread, which ends the lease on its way out, and give it a moment."""
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    signal.pthread_kill(main_thread, signal.SIGINT)
    time.sleep(_END_WITHIN)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell may have this process ignore the first one
        signal.signal(number, signal.default_int_handler)
    try:
        process.Parent(_interrupt)
        code = main(Path(sys.argv[1]))
    except KeyboardInterrupt:
        code = 1
    sys.stderr.flush()
    os._exit(code)
