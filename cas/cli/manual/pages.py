"""The manual pages of all commands, made from what `--help` says of them: `cas(1)`, `cas-restore(1)` and so on."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import click

from cas.cli.commands import COMMANDS, GROUPS
from cas.cli.manual.roff import Page, bold, escaped, synopsis

_EXIT_CODES = {
    "0": "Done.",
    "1": "An unexpected error: report it, with what `-v` shows.",
    "2": "The call is wrong.",
    "3": "The store was reached, and what was asked for is not there.",
    "4": "Bytes do not hash to their name, or are missing.",
    "5": "A format that this version does not know, or malformed or hostile data.",
    "6": "The store cannot be reached, refuses, or was changed by somebody else.",
    "7": "The disk, the hub cache or a file here.",
    "8": "What trusted keys must have signed is not signed, or nothing signs here.",
    "126": "`cas run`, `cas serve`: the command cannot be executed.",
    "127": "`cas run`, `cas serve`: the command is not found.",
    "130": "Interrupted. The same command again goes on where it stopped.",
}

_FILES = {
    "~/.local/share/model-cas": "The store where nothing names one (below XDG_DATA_HOME).",
    "~/.config/model-cas/config.toml": "Stores by name, and defaults (below XDG_CONFIG_HOME; or CAS_CONFIG).",
    "~/.config/model-cas/trusted-keys": "What `cas trust add` keeps (below XDG_CONFIG_HOME).",
    "~/.cache/model-cas": "What was read of stores, and may be removed at any time (below XDG_CACHE_HOME).",
    "~/.cache/huggingface/hub": "The hub cache, which models are restored to (HF_HUB_CACHE, HF_HOME).",
}


def pages(root: click.Group) -> dict[str, str]:
    """Return every manual page by its name, such as `cas-restore`.

    Args:
        root: the group of all commands.
    """
    return {ctx.command_path.replace(" ", "-"): page(ctx) for ctx in _contexts(root)}


def page(ctx: click.Context) -> str:
    """Return the manual page of a command.

    Args:
        ctx: made for the command, whose path it knows.
    """
    command, path = ctx.command, ctx.command_path
    name = path.replace(" ", "-")
    written = Page(name)
    written.section("NAME")
    written.lines.append(f"{escaped(name)} \\- {escaped(_line(ctx).rstrip('.'))}")
    written.section("SYNOPSIS")
    written.lines.append(f"{bold(path)} {synopsis(command.collect_usage_pieces(ctx))}")
    written.section("DESCRIPTION")
    _prose(written, command.help or "")
    if command.params:
        written.section("OPTIONS")
        for parameter in command.get_params(ctx):
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx)):
                written.term(bold(record[0]), record[1])
    if isinstance(command, click.Group):
        written.section("COMMANDS")
        _commands(written, ctx, command)
    epilog = command.epilog or ""
    if epilog:
        is_examples = epilog.replace("\b", "").strip().lower().startswith("example")
        written.section("EXAMPLES" if is_examples else "NOTES")
        _prose(written, epilog.replace("Examples:\n", "", 1))
    if ctx.parent is None:
        _of_all(written)
    written.section("SEE ALSO")
    others = [parent for parent in ("cas", name.rpartition("-")[0]) if parent and parent != name]
    written.lines.append(", ".join(f"{bold(other)}(1)" for other in dict.fromkeys(others)) or f"{bold('hf')}(1)")
    return written.text()


def _contexts(root: click.Group) -> Iterator[click.Context]:
    """A context for the group of all commands, for each of these, and for each below them."""
    top = click.Context(root, info_name="cas", **root.context_settings)
    yield top
    for name in root.list_commands(top):
        command = root.get_command(top, name)
        assert command is not None
        ctx = click.Context(command, info_name=name, parent=top)
        yield ctx
        if isinstance(command, click.Group):
            yield from (click.Context(each, info_name=below, parent=ctx) for below, each in command.commands.items())


def _line(ctx: click.Context) -> str:
    """What a command does, in a line."""
    if ctx.parent is None:
        return "a content-addressed store for model artifacts"
    return (ctx.command.short_help or ctx.command.get_short_help_str(200)).strip()


def _prose(written: Page, text: str) -> None:
    """Add paragraphs; one that begins with a \\b is printed line by line, as click does."""
    for each in textwrap.dedent(text).strip("\n").split("\n\n"):
        lines = each.strip("\n").splitlines()
        if lines and lines[0].strip() == "\b":
            written.literal(textwrap.dedent("\n".join(lines[1:])).splitlines())
        elif each.strip():
            written.paragraph(each)


def _commands(written: Page, ctx: click.Context, group: click.Group) -> None:
    if ctx.parent is not None:
        for name, command in group.commands.items():
            written.term(f"{bold(f'{ctx.command_path} {name}')}", command.get_short_help_str(200))
        return
    for title, entries in GROUPS.items():
        written.subsection(title)
        for name in entries:
            written.term(f"{bold(f'cas-{name}')}(1)", COMMANDS[name].line)


def _of_all(written: Page) -> None:
    """Add what holds for all commands."""
    from cas.local.variables import VARIABLES

    written.section("EXIT STATUS")
    for code, meaning in _EXIT_CODES.items():
        written.term(bold(code), meaning)
    written.section("ENVIRONMENT")
    for variable in VARIABLES:
        written.term(bold(variable.name), f"{variable.decides[:1].upper()}{variable.decides[1:]}.")
    written.section("FILES")
    for path, meaning in _FILES.items():
        written.term(f"\\fI{escaped(path)}\\fR", meaning)
