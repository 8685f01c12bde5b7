"""The `cas` command: parses the call, runs one verb, turns errors into exit codes.

Each command lives in a module of its own and is imported when called: `cas` starts in a few tens of milliseconds.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback

import click

import cas
from cas.cli.settings import Settings, common
from cas.errors import CasError

# Name -> (module and function, one line for the list of commands).
_COMMANDS = {
    "publish": ("cas.cli.publish:publish", "Publish a model from Hugging Face or a folder."),
    "restore": ("cas.cli.restore:restore", "Put a version into the Hugging Face cache."),
    "run": ("cas.cli.restore:run", "Restore, then run a command that finds the model."),
    "env": ("cas.cli.restore:env", "Print the export lines under which clients find a model."),
    "ls": ("cas.cli.look:ls", "List models, or the versions of one."),
    "show": ("cas.cli.look:show", "Show what a version consists of."),
    "verify": ("cas.cli.verify:verify", "Re-hash a model on this machine."),
    "tag": ("cas.cli.tag:tag", "Give a version tags."),
    "completion": ("cas.cli.completion:completion", "Print a shell's completion script."),
}


class _Commands(click.Group):
    """Knows all commands by name and loads the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module, _, function = _COMMANDS[name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), function)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(
    "cas",
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="REFERENCES  model, model:tag, model@<8+ hex>, model@blake3:<64 hex>. "
    "EXIT CODES  2 wrong call, 3 not found, 4 corrupt, 5 unknown format, 6 store, 7 disk or cache, 8 signature.",
)
@click.version_option(cas.__version__, message="cas %(version)s")
@common
def root(settings: Settings) -> None:
    """Model artifacts in your own bucket: content-addressed, verified, restored before your process needs them."""


def main() -> None:
    """Entry point of the console script; ends the process with the exit code of what happened."""
    settings = Settings()
    try:
        root.main(prog_name="cas", standalone_mode=False, obj=settings)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        code = 2
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "cas"
        _say(f"{error.format_message().rstrip('.')}: see `{where} --help`")
        code = 2
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted; nothing half-done is visible. Run the same command again to go on where it stopped")
        code = 130
    except CasError as error:
        _say(str(error), error, settings)
        code = error.exit_code
    except BrokenPipeError:
        # Whoever read our output has left; Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _say(f"{place}{error.strerror or error}", error, settings)
        code = 7
    except Exception as error:
        _say(f"unexpected {type(error).__name__}: {error}: run again with -v and report it", error, settings)
        code = 1
    else:
        code = 0
    sys.stdout.flush()
    sys.stderr.flush()
    # Worker threads may still sit in a request; they have nothing left to finish.
    os._exit(code) if code == 130 else sys.exit(code)


def _say(text: str, error: Exception | None = None, settings: Settings | None = None) -> None:
    if error is not None and settings is not None and settings.verbose:
        traceback.print_exception(error, file=sys.stderr)
    print(f"cas: {text}", file=sys.stderr)
