"""The process that brings the model here, while the worker's own imports torch: `python -m worker.restoring DIR...`.

It is given the directories that passed the checks, writes one line with the outcome to standard output, and ends with
whoever started it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from functools import partial
from pathlib import Path

import msgspec

from worker.boot import messages
from worker.boot.process import Parent
from worker.errors import describe_error
from worker.log import logger

_PLACES = 4
_READY_WITHIN = 1800.0  # seconds

_AFTER_IMPORTS = 10
"""How much this process steps back: the worker waits for the slower of both, and imports have one thread only."""


def main(paths: list[str], parent: Parent) -> int:
    """Walks down the chain and tells how it ended; the exit code of that. parent: who is told."""
    from cas.cli.process import keep_memory_together, leave_cores_alone

    # What a library prints must not come between the lines.
    wire = os.dup(1)
    os.dup2(2, 1)
    keep_memory_together()
    leave_cores_alone()
    with contextlib.suppress(OSError):
        os.nice(_AFTER_IMPORTS)
    from cas.cli.progress import Reporter
    from worker.model.recorder import Recorder

    recorder = Recorder()
    sent = False

    def send(done: messages.Restored) -> None:
        nonlocal sent
        parent.detach()
        _send(wire, done)
        sent = True

    try:
        from worker.boot.settings import Settings
        from worker.model.source_chain import Chain

        settings = Settings.read()
        recorder.quiet_receipts = not settings.receipt_named
        with Reporter() as reporter:
            recorder.follow = reporter.listen
            Chain(settings, [Path(path) for path in paths], recorder, partial(_ended, parent)).walk(send)
    except Exception as error:
        code = getattr(error, "exit_code", 1)
        if sent:
            logger.warning(f"the model is here; after that: {_told(error)}")
            return int(code)
        causes = getattr(error, "causes", (_told(error),))
        _send(
            wire,
            messages.Failed(
                exit_code=code,
                causes=tuple(causes),
                steps=recorder.steps(),
                warnings=tuple(recorder.warnings),
                errors=tuple(recorder.errors),
            ),
        )
        return int(code)
    return 0


def _told(error: Exception) -> str:
    """A failure in words; of one that nobody meant to raise, with the places in our code that it came through."""
    import cas
    from cas.errors import CasError

    if isinstance(error, CasError):
        return describe_error(error)
    ours = []
    for frame in traceback.extract_tb(error.__traceback__):
        file = Path(frame.filename).resolve()
        for package in (Path(cas.__file__).resolve().parent, Path(__file__).resolve().parents[1]):
            if file.is_relative_to(package):
                # Places alone: a value may be a secret.
                ours.append(f"{file.relative_to(package.parent)}:{frame.lineno}")
    return " at ".join(filter(None, (describe_error(error), " < ".join(ours[: -_PLACES - 1 : -1]))))


def _ended(parent: Parent) -> messages.Ended | None:
    """The worker's answer, when it could use the model or could not; None when it is gone, or says nothing for long."""
    try:
        return messages.decode_ended(parent.line(_READY_WITHIN))
    except msgspec.DecodeError:
        return None


def _send(wire: int, done: messages.Restored | messages.Failed) -> None:
    data = messages.encode(done)
    while data:
        data = data[os.write(wire, data) :]


if __name__ == "__main__":
    code = main(sys.argv[1:], Parent())
    sys.stderr.flush()
    # Threads of the S3 client may be at work; they must not hold the process up, nor abort it.
    os._exit(code)
