"""The process that restores the model while the worker imports torch: `python -m worker.model.restore_process DIR...`.

Its arguments are the directories that passed the checks. It writes a line to standard output for each file that is
complete, and one with the result; it exits when the process that started it ends.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from worker.boot import messages
from worker.boot.process import Parent
from worker.errors import describe_error
from worker.log import logger

if TYPE_CHECKING:
    from worker.model.source_chain import SourceChain

_LINES_OF_TRACEBACK = 4
_READY_WITHIN = 1800.0  # seconds
_RECEIPT_WITHIN = 5.0  # seconds

# The worker waits for the slower of both, its imports and this process; imports have one thread only, so they go first.
_NICE = 10


def main(paths: list[str], parent: Parent) -> int:
    """Walk down the source chain and send the result to the worker; the exit code.

    Args:
        paths: directories that passed the checks.
        parent: the worker.
    """
    from cas.cli.process import keep_memory_together, leave_cores_alone

    # Whatever a library prints goes to standard error: the pipe to the worker is for the result alone.
    pipe = os.dup(1)
    os.dup2(2, 1)
    keep_memory_together()
    leave_cores_alone()
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    from cas.cli.display.progress import Reporter
    from worker.model.recorder import Recorder

    recorder = Recorder()
    chain: SourceChain | None = None
    sent = False
    progress = contextlib.ExitStack()

    def early(message: messages.Expected | messages.Arrived) -> None:
        # Without it the worker only loads later: a worker that is gone is noticed elsewhere.
        with contextlib.suppress(OSError):
            _send(pipe, message)

    def send(result: messages.Restored) -> None:
        nonlocal sent
        progress.close()  # the worker goes on, and may load the model for minutes
        parent.detach()
        _send(pipe, result)
        sent = True

    try:
        from worker.boot.settings import Settings
        from worker.model.needed_files import NeededFiles
        from worker.model.source_chain import SourceChain

        settings = Settings.read()
        recorder.quiet_receipts = not settings.receipt_named
        recorder.send = early
        with progress:
            recorder.follow = progress.enter_context(Reporter()).listen
            directories = [Path(path) for path in paths]
            needed = NeededFiles(settings, directories, recorder)
            chain = SourceChain(settings, directories, recorder, partial(_reply, parent), needed.choose)
            chain.walk(lambda result: send(needed.complete(result)))
            needed.finish(_RECEIPT_WITHIN)
    except Exception as error:
        code = getattr(error, "exit_code", 1)
        if sent:
            logger.warning(f"the model is here; after that: {_describe(error)}")
            return int(code)
        causes = getattr(error, "causes", (_describe(error),))
        _send(
            pipe,
            messages.Failed(
                exit_code=code,
                causes=tuple(causes),
                fallback=chain.condition.fallback if chain else "",
                steps=recorder.steps(),
                warnings=tuple(recorder.warnings),
                errors=tuple(recorder.errors),
            ),
        )
        return int(code)
    return 0


def _describe(error: Exception) -> str:
    """Say in words what went wrong; of an error that is not ours, also which lines of our code it came through."""
    import cas
    from cas.errors import CasError

    if isinstance(error, CasError):
        return describe_error(error)
    lines = []
    for frame in traceback.extract_tb(error.__traceback__):
        file = Path(frame.filename).resolve()
        for package in (Path(cas.__file__).resolve().parent, Path(__file__).resolve().parents[1]):
            if file.is_relative_to(package):
                # File and line alone: a value may be a secret.
                lines.append(f"{file.relative_to(package.parent)}:{frame.lineno}")
    return " at ".join(filter(None, (describe_error(error), " < ".join(lines[: -_LINES_OF_TRACEBACK - 1 : -1]))))


def _reply(parent: Parent) -> messages.Ended | None:
    """Wait for the worker's reply that it can speak, or cannot; None when it is gone, or does not reply in time."""
    try:
        return messages.decode_ended(parent.line(_READY_WITHIN))
    except msgspec.DecodeError:
        return None


_sending = threading.Lock()  # files are completed in several threads


def _send(pipe: int, message: messages.Message) -> None:
    data = messages.encode(message)
    with _sending:
        while data:
            data = data[os.write(pipe, data) :]


if __name__ == "__main__":
    code = main(sys.argv[1:], Parent())
    sys.stderr.flush()
    # Not sys.exit(): threads of the S3 client that are at work would delay the exit, or abort the process.
    os._exit(code)
