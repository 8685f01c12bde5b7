"""The `cas` command: parse the call, run one command, turn its errors into exit codes.

The module of a command is imported when that command is called: so `cas` starts in a few tens of milliseconds.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from typing import TextIO

import click

from cas import config
from cas.cli import hints
from cas.cli.commands import Commands
from cas.cli.defaults import FileDefaults
from cas.cli.display import paint
from cas.cli.display.paint import Style
from cas.cli.display.streams import open_streams
from cas.cli.options import Settings, common
from cas.errors import refuse_platform
from cas.formats.printable import printable_traceback
from cas.version import __version__

_EPILOG = """\b
References:  model, model:tag, model@digest (8 or more
             hex digits), pin:deployment/model; also a
             digest, a deployment with one pin, or a
             repo id that one model holds
The store:   --store, CAS_STORE, s3://$S3_BUCKET/cas, the
             configuration file's, or a folder at home
Exit codes:  2 wrong call, 3 not found, 4 corrupt,
             5 unknown format, 6 store, 7 disk or cache,
             8 signature
"""


@click.group(
    "cas",
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EPILOG,
)
@click.version_option(__version__, "-V", "--version", message="cas %(version)s")
@common
def root(settings: Settings) -> None:
    """Model artifacts in your own bucket: content-addressed, verified, restored before your process needs them."""


def main() -> None:
    """Run the command line of this process, and end the process with the exit code (cas/errors.py lists them)."""
    open_streams()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt_once)
    if instruction := os.environ.get("_CAS_COMPLETE"):
        from cas.cli.complete.answer import answer

        answer(root, instruction)
    config.clean_environment()
    settings = Settings()
    hints.remember(settings)
    try:
        code = _run(settings)
    except BrokenPipeError:
        code = 141  # the reader of our output has left: 128 + SIGPIPE, as a shell reports a process that SIGPIPE ended
    except BaseException as error:
        code = _fail(error, settings)
    _flush_or_discard(sys.stdout)
    _flush_or_discard(sys.stderr)
    # Not sys.exit(): after an interrupt, worker threads may still wait for a request. When a thread of the S3 client
    # releases a Python object while the interpreter shuts down, the process aborts (one publish in sixty).
    os._exit(code)


def _run(settings: Settings) -> int:
    refuse_platform()
    # Not root.main(): click has other exit codes for interrupts and closed pipes.
    try:
        with root.make_context("cas", sys.argv[1:], obj=settings, default_map=FileDefaults()) as ctx:
            root.invoke(ctx)
    except click.exceptions.Exit as ended:
        sys.stdout.flush()
        return ended.exit_code
    sys.stdout.flush()
    return 0


def _interrupt_once(number: int, frame: object) -> None:
    """End the command at the first Ctrl-C, and ignore the next ones, which would add a traceback on the way out."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _flush_or_discard(stream: TextIO) -> None:
    """Flush a stream; discard what cannot be written, or Python would try again at exit and print an error."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _fail(error: BaseException, settings: Settings) -> int:
    """Print why the call failed, and return its exit code; raise the error again if it is none of a call."""
    from cas.cli import failures

    failure = failures.failure_of(error)
    if failure is None:
        raise error
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
    else:
        if settings.verbose and not failure.is_expected:
            sys.stderr.write(printable_traceback("".join(traceback.format_exception(error)), "cas"))
        paint.line(sys.stderr, ("cas:", Style.RED), (f" {failure.line()}", Style.PLAIN))
    try:
        failures.print_document(failure, settings)
    except OSError as unwritable:
        print(f"cas: {unwritable.strerror or unwritable}", file=sys.stderr)
    return failure.exit_code
