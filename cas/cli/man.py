"""`cas man`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import click

from cas.cli.display import output
from cas.cli.options import Settings, common
from cas.errors import InputError


@click.command(short_help="Show the manual page of a command.")
@click.argument("commands", metavar="[COMMAND]...", nargs=-1)
@click.option("-o", "--output", "folder", metavar="DIR", help="Write all pages into DIR, such as share/man/man1.")
@common
def man(settings: Settings, commands: tuple[str, ...], folder: str | None) -> None:
    """Show the manual page of `cas`, or of COMMAND, as `man cas-COMMAND` does where the pages are installed.

    Without the program `man`, the page is printed as `--help` prints it.
    """
    from cas.cli.main import root
    from cas.cli.manual.pages import pages

    if folder is not None and commands:
        raise InputError("a COMMAND and --output exclude each other: --output writes all pages")
    if folder is not None:
        files = _write(Path(folder), pages(root))
        if settings.json:
            output.document({"files": [str(file) for file in files]})
        elif not settings.quiet:
            print(f"wrote {output.count(len(files), 'page')} to {folder}", file=sys.stderr)
        return
    name = "-".join(("cas", *commands))
    page = pages(root).get(name)
    if page is None:
        raise InputError(f"there is no command `cas {' '.join(commands)}`: see `cas --help`")
    if settings.json:
        output.document({"name": name, "page": page})
    else:
        _show(name, page, root, commands)


def _write(folder: Path, texts: dict[str, str]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.1" for name in sorted(texts)]
    for file in files:
        file.write_text(texts[file.stem], "ascii")
    return files


def _show(name: str, page: str, root: click.Group, commands: tuple[str, ...]) -> None:
    sys.stdout.flush()
    with tempfile.TemporaryDirectory(prefix="cas-man-") as folder:
        file = Path(folder) / f"{name}.1"
        file.write_text(page, "ascii")
        try:
            # The user's own program, by PATH, and a file that was written just now.
            shown = subprocess.run(["man", str(file)], check=False).returncode == 0  # noqa: S603, S607
        except FileNotFoundError:
            shown = False
    if not shown:
        ctx = click.Context(root, info_name="cas")
        for word in commands:
            assert isinstance(ctx.command, click.Group)
            below = ctx.command.get_command(ctx, word)
            assert below is not None, "its page was found"
            ctx = click.Context(below, info_name=word, parent=ctx)
        click.echo(ctx.get_help())
