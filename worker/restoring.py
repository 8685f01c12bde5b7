"""The process that brings the model here, while the worker's own imports torch: `python -m worker.restoring DIR...`.

It is given the directories that passed the checks, writes one line with the outcome to standard output, and ends with
whoever started it.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from worker import outcome, telling


def main(paths: list[str]) -> int:
    """Walks down the chain and tells how it ended; the exit code of that."""
    from cas.cli.process import keep_memory_together, leave_cores_alone

    # What a library prints must not come between the lines.
    wire = os.dup(1)
    os.dup2(2, 1)
    keep_memory_together()
    leave_cores_alone()
    from cas.progress import Reporter
    from worker.notebook import Notebook

    notebook = Notebook()
    try:
        from worker.chain import Chain
        from worker.settings import Settings

        settings = Settings.read()
        notebook.quiet_receipts = not settings.receipt_named
        with Reporter() as reporter:
            notebook.follow = reporter.listen
            Chain(settings, [Path(path) for path in paths], notebook).walk(lambda done: _send(wire, done))
    except Exception as error:
        code = getattr(error, "exit_code", 1)
        causes = getattr(error, "causes", (telling.told(error),))
        _send(
            wire,
            outcome.Failed(
                exit_code=code,
                causes=tuple(causes),
                steps=notebook.steps(),
                warnings=tuple(notebook.warnings),
                errors=tuple(notebook.errors),
            ),
        )
        return int(code)
    return 0


def end_with_parent() -> None:
    """Ends this process when the other end of its standard input is closed: when who started it is gone."""

    def wait() -> None:
        try:
            while os.read(0, 4096):
                pass
        finally:
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _send(wire: int, done: outcome.Restored | outcome.Failed) -> None:
    data = outcome.encode(done)
    while data:
        data = data[os.write(wire, data) :]


if __name__ == "__main__":
    end_with_parent()
    code = main(sys.argv[1:])
    sys.stderr.flush()
    # Threads of the S3 client may be at work; they must not hold the process up, nor abort it.
    os._exit(code)
