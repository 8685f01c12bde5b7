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
from cas.cli.commands import Commands
from cas.cli.display import paint
from cas.cli.display.paint import Style
from cas.cli.display.streams import open_streams
from cas.cli.options import Settings, common
from cas.errors import CasError
from cas.formats.printable import printable_traceback
from cas.version import __version__

_EPILOG = """\b
References:  model, model:tag, model@<8+ hex>, model@blake3:<64 hex>,
             pin:deployment/model
The store:   --store, CAS_STORE, s3://$S3_BUCKET/cas, or a folder in your data home
Exit codes:  2 wrong call, 3 not found, 4 corrupt, 5 unknown format, 6 store,
             7 disk or cache, 8 signature
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
    try:
        code = _run(settings)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        code = 2
    except click.ClickException as error:
        command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "cas"
        text = error.format_message().rstrip(".")
        _print_error(f"{text} See `{command} --help`" if text.endswith("?") else f"{text}: see `{command} --help`")
        code = 2
    except (KeyboardInterrupt, click.Abort):
        _print_error("interrupted; nothing half-done is visible. Run the same command again to go on where it stopped")
        code = 130
    except CasError as error:
        _print_error(str(error), error, settings)
        code = error.exit_code
    except BrokenPipeError:
        code = 141  # the reader of our output has left: 128 + SIGPIPE, as a shell reports a process that SIGPIPE ended
    except OSError as error:
        path = f"{error.filename}: " if error.filename else ""
        _print_error(f"{path}{error.strerror or error}", error, settings)
        code = 7
    except Exception as error:
        _print_error(f"unexpected {type(error).__name__}: {error}: run again with -v and report it", error, settings)
        code = 1
    except BaseException as error:
        from cas.bucket.errors.clients import is_panic

        if not is_panic(error):
            raise
        _print_error(f"a library failed ({error}): report it, with what it printed above", error, settings)
        code = 1
    _flush_or_discard(sys.stdout)
    _flush_or_discard(sys.stderr)
    # Not sys.exit(): after an interrupt, worker threads may still wait for a request. When a thread of the S3 client
    # releases a Python object while the interpreter shuts down, the process aborts (one publish in sixty).
    os._exit(code)


def _run(settings: Settings) -> int:
    # Not root.main(): click has other exit codes for interrupts and closed pipes.
    try:
        with root.make_context("cas", sys.argv[1:], obj=settings) as ctx:
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


def _print_error(text: str, error: BaseException | None = None, settings: Settings | None = None) -> None:
    if error is not None and settings is not None and settings.verbose:
        sys.stderr.write(printable_traceback("".join(traceback.format_exception(error)), "cas"))
    paint.line(sys.stderr, ("cas:", Style.RED), (f" {text}", Style.PLAIN))
