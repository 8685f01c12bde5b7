"""`cas help` and `cas version`."""

from __future__ import annotations

import click

from cas.cli.display import output
from cas.cli.options import Settings, common


@click.command("help", short_help="Show the help of a command.")
@click.argument("command", metavar="[COMMAND]...", nargs=-1)
@common
def help_(settings: Settings, command: tuple[str, ...]) -> None:
    """Show the help of COMMAND, as `cas COMMAND --help` does; without one, the list of commands."""
    ctx = click.get_current_context().find_root()
    shown: click.Command = ctx.command
    for word in command:
        if not isinstance(shown, click.Group):
            raise click.UsageError(f"{ctx.command_path} has no commands of its own, so that {word!r} is none")
        name, found, _ = shown.resolve_command(ctx, [word])
        assert found is not None  # in click's types alone: an unknown word has ended the call
        ctx, shown = click.Context(found, parent=ctx, info_name=name), found
    text = shown.get_help(ctx)
    if settings.json:
        output.document({"command": ctx.command_path, "help": text})
    else:
        click.echo(text)


@click.command(short_help="Show the version of this program.")
@common
def version(settings: Settings) -> None:
    """Show the version of this program, as `cas --version` does."""
    from cas.version import __version__

    if settings.json:
        output.document({"version": __version__})
    else:
        print(f"cas {__version__}")
