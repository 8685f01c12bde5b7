"""The worker's log: one logger for all its modules and processes, one line a message, on standard error.

Standard output is for the receipts alone. The logger does not pass its lines on to the root logger: both
`worker/__main__.py` and the RunPod SDK give the root logger a handler, which would write every line a second time.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO

from cas.formats.printable import printable, printable_lines, printable_traceback

_LEVELS = {logging.WARNING: "warning: ", logging.ERROR: "error: "}


class _OneLine(logging.Formatter):
    """`worker: …`, `worker: warning: …` or `worker: error: …`; a traceback, where there is one, follows below."""

    def format(self, record: logging.LogRecord) -> str:
        text = f"worker: {_LEVELS.get(record.levelno, '')}{record.getMessage()}"
        line = printable(text.replace("\n", " ").rstrip())
        if not record.exc_info:
            return line
        return f"{line}\n{printable_traceback(self.formatException(record.exc_info), 'worker')}"


class Printable(logging.Formatter):
    """Lines of libraries, made printable: they may quote a server."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes each message in one write, as several processes share the stream; a test may replace `sys.stderr`."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def _configured() -> logging.Logger:
    handler = _StandardError()
    handler.setFormatter(_OneLine())
    configured = logging.getLogger("worker")
    configured.addHandler(handler)
    configured.setLevel(logging.INFO)
    configured.propagate = False
    return configured


logger = _configured()
"""Every module of the worker logs with it, or with a child of it."""
