"""The reference of the commands, as Markdown, made from what the commands say of themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from cas.cli.main import root


def command_pages() -> dict[str, str]:
    """Return a page for each command and one that lists them, by its path on the site."""
    top = click.Context(root, info_name="cas")
    found = {}
    for name in root.list_commands(top):
        if command := root.get_command(top, name):
            found[name] = command
    listed = [f"| [`cas {name}`]({name}.md) | {_brief(command)} |" for name, command in found.items()]
    index = [
        "# Commands",
        "",
        "| command | does |",
        "|---|---|",
        *listed,
        "",
        "## Of every command",
        "",
        *_options(root, top),
        "",
        "```text",
        top.command.get_help(top),
        "```",
    ]
    return {
        "commands/index.md": "\n".join(index) + "\n",
        **{f"commands/{name}.md": "\n".join(_page(command, top, name, 1)) + "\n" for name, command in found.items()},
    }


def _page(command: click.Command, parent: click.Context, name: str, level: int) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    yield from (f"{'#' * level} {context.command_path}", "", _text(command.help), "")
    yield from ("```text", f"{context.command_path} {' '.join(command.collect_usage_pieces(context))}", "```", "")
    yield from _options(command, context)
    if command.epilog:
        yield from ("", "```text", inspect.cleandoc(command.epilog).replace("\b\n", ""), "```")
    if isinstance(command, click.Group):
        for part in command.list_commands(context):
            if below := command.get_command(context, part):
                yield ""
                yield from _page(below, context, part, level + 1)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    yield from ("| option | |", "|---|---|")
    for parameter in command.get_params(context):
        if record := parameter.get_help_record(context):
            names, text = (part.replace("|", "\\|") for part in record)
            yield f"| `{names}` | {text} |"


def _brief(command: click.Command) -> str:
    return command.get_short_help_str(limit=200)


def _text(help_text: str | None) -> str:
    return inspect.cleandoc(help_text or "").replace("\b\n", "").replace("<", "&lt;")
