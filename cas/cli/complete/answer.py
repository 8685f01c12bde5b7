"""Answering a shell that completes a command line.

The shell's function (`shells.py`) calls `cas` with _CAS_COMPLETE set. Then:

1. read the line up to the cursor, and find which word of which command is being typed (click does);
2. ask what that word may be: a command, an option, or what `positions.py` says of the parameter (`values.py`);
3. print what fits. Whatever fails, nothing is printed: a shell that completes shows no errors.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click
from click.shell_completion import CompletionItem

from cas.cli.commands import COMMANDS
from cas.cli.complete.positions import with_completion
from cas.cli.complete.shells import SHELLS


class _Completing(click.Group):
    """The group of all commands, each of which knows what its parameters may be."""

    def __init__(self, root: click.Group) -> None:
        completed = with_completion(root, "")
        super().__init__(root.name, params=completed.params, context_settings=root.context_settings)
        self._root = root

    def list_commands(self, ctx: click.Context) -> list[str]:
        return self._root.list_commands(ctx)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        command = self._root.get_command(ctx, name)
        return None if command is None else with_completion(command, name)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        # From the table: click's own way imports every command for its help.
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        found = [CompletionItem(name, help=COMMANDS[name].line) for name in names]
        return found + click.Command.shell_complete(self, ctx, incomplete)


def answer(root: click.Group, instruction: str) -> NoReturn:
    """Print what the shell asks for, and end the process.

    Args:
        root: the group of all commands.
        instruction: the value of _CAS_COMPLETE: `bash_complete`, and so on, for completions; `bash_source` for the
            script.
    """
    shell, _, wanted = instruction.partition("_")
    try:
        kind = SHELLS[shell](_Completing(root), {}, "cas", "_CAS_COMPLETE")
        text = kind.source() if wanted == "source" else kind.complete()
    except Exception:
        text = ""
    sys.stdout.write(text + "\n" if text else "")
    sys.stdout.flush()
    os._exit(0)  # a thread may still wait for the store
