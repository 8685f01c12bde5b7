"""`cas completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from cas.cli.display import output
from cas.cli.options import Settings, common


@click.command(short_help="Print a shell's completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@common
def completion(settings: Settings, shell: str) -> None:
    """Print the completion script for SHELL; load it with: eval "$(cas completion bash)"."""
    from cas.cli.main import root

    kind = get_completion_class(shell)
    assert kind is not None, "click knows the three shells offered"
    script = kind(root, {}, "cas", "_CAS_COMPLETE").source()
    if settings.json:
        output.document({"shell": shell, "script": script})
    else:
        click.echo(script)
