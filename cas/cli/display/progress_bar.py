"""The progress of an operation, shown to who waits for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TextIO

from cas import events
from cas.cli.display.progress import Reporter


@contextlib.contextmanager
def progress_bar(*, quiet: bool = False, verbose: bool = False, out: TextIO | None = None) -> Iterator[events.Listener]:
    """Show how far an operation is, as the command line does: a bar on a terminal, a line every ten seconds elsewhere.

        with cas.progress_bar() as bar:
            cas.restore("minilm", on_event=bar)

    Args:
        quiet: show warnings only.
        verbose: show notes, too.
        out: where to; by default standard error.

    Yields:
        What an operation takes as `on_event`.
    """
    with Reporter(quiet=quiet, verbose=verbose, out=out) as reporter:
        yield reporter.listen
