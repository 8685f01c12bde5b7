"""`cas completion`."""

from __future__ import annotations

import sys

import click

from cas.cli.display import output
from cas.cli.options import Settings, common


@click.command(short_help="Complete commands, models and tags in your shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), required=False)
@click.option("--install", "installs", is_flag=True, help="Put it where SHELL, by default yours, loads it from.")
@common
def completion(settings: Settings, shell: str | None, installs: bool) -> None:
    """Print the script that lets SHELL complete commands, options, models, tags, pins, digests and paths.

    With --install, keep it in a file that the shell loads at its start. To load it in this shell alone:
    eval "$(cas completion bash)"; in fish: cas completion fish | source.
    """
    from cas.cli.complete.install import LINE_MARK, install, own_shell
    from cas.cli.complete.shells import SHELLS
    from cas.cli.main import root

    if shell is None and not installs:
        raise click.UsageError("name the shell (bash, zsh or fish), or give --install", click.get_current_context())
    shell = shell or own_shell()
    script = SHELLS[shell](root, {}, "cas", "_CAS_COMPLETE").source()
    if not installs:
        if settings.json:
            output.document({"shell": shell, "script": script})
        else:
            sys.stdout.write(script)
        return
    done = install(shell, script)
    if settings.json:
        output.document(
            {
                "shell": shell,
                "script_file": str(done.script),
                "start_file": str(done.start_file) if done.start_file else None,
                "changed": [str(file) for file in done.changed],
            }
        )
        return
    if settings.quiet:
        return
    print(f"{done.script} {'holds' if done.changed else 'already held'} the completion for {shell}")
    if done.start_file:
        print(f"{done.start_file} loads it, by the line that ends with `{LINE_MARK}`")
    print("a shell that you start from now on completes `cas`")
    undo = f", and that line of {done.start_file}" if done.start_file else ""
    print(f"to undo it, remove {done.script}{undo}")
