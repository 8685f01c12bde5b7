"""Where a shell finds completion by itself: `cas completion --install` puts it there.

fish and bash-completion load a file from a folder of the user's. For zsh, and for bash without bash-completion, the
file needs a line in the shell's start file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from cas import config
from cas.cli.complete.shells import MARK, SHELLS
from cas.errors import InputError

LINE_MARK = "# completion of cas"
"""Ends the line that is added to a start file, so that it is added once, and found by who removes it."""

# Where bash-completion lies: on Linux, and from Homebrew.
_BASH_COMPLETION = (
    "/usr/share/bash-completion/bash_completion",
    "/usr/local/share/bash-completion/bash_completion",
    "/usr/local/etc/profile.d/bash_completion.sh",
    "/opt/homebrew/etc/profile.d/bash_completion.sh",
)


class Installed(NamedTuple):
    """What an installation did.

    Attributes:
        shell: `bash`, `zsh` or `fish`.
        script: the file that holds the script.
        start_file: the shell's start file whose line loads the script; None where the shell finds it by itself.
        changed: the files that were written; none where all was there.
    """

    shell: str
    script: Path
    start_file: Path | None
    changed: tuple[Path, ...]


def own_shell() -> str:
    """Return the name of the user's shell; raise InputError where SHELL names none that is known."""
    named = Path(config.read("SHELL")).name
    if named not in SHELLS:
        what = f"SHELL is {named}" if named else "SHELL is not set"
        raise InputError(f"{what}: say which shell, as in `cas completion --install bash` ({', '.join(SHELLS)})")
    return named


def install(shell: str, script: str) -> Installed:
    """Write a shell's completion script to where the shell loads it from. A second time, nothing changes.

    Args:
        shell: `bash`, `zsh` or `fish`.
        script: the text.

    Raises:
        InputError: the user has no home directory, or the file that would be written is not ours.
        OSError: a file cannot be read or written.
    """
    home = config.home_directory("load the script yourself: `cas completion --help` says how")
    data = config.user_directory("XDG_DATA_HOME", ".local/share") or home / ".local/share"
    settings = config.user_directory("XDG_CONFIG_HOME", ".config") or home / ".config"
    start_file: Path | None = None
    if shell == "fish":
        file = settings / "fish/completions/cas.fish"
    elif shell == "bash" and any(map(os.path.exists, _BASH_COMPLETION)):
        file = data / "bash-completion/completions/cas"
    else:
        # Not below the data directory: its `model-cas` is the default store, in which no other file may be.
        file = settings / f"model-cas/completion.{shell}"
        start_file = home / ".bashrc" if shell == "bash" else Path(config.read("ZDOTDIR") or home) / ".zshrc"
    changed = [file] if _write_script(file, script) else []
    if start_file and _add_line(start_file, f'[ -r "{file}" ] && . "{file}"  {LINE_MARK}'):
        changed.append(start_file)
    return Installed(shell, file, start_file, tuple(changed))


def _write_script(file: Path, script: str) -> bool:
    """Write the script; return whether that changed anything."""
    old = _read(file)
    if old == script:
        return False
    if old and MARK not in old:
        raise InputError(f"{file} is there, and is not of cas: move it away, then run this again")
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}")
    part.write_text(script, "utf-8")
    part.replace(file)
    return True


def _add_line(file: Path, line: str) -> bool:
    """Append a line to a start file unless a line of ours is there; return whether it was appended."""
    text = _read(file)
    if any(each.rstrip().endswith(LINE_MARK) for each in text.splitlines()):
        return False
    # Appended rather than written anew: the file may be a link into somebody's folder of settings.
    with file.open("a", encoding="utf-8") as opened:
        opened.write("" if not text or text.endswith("\n") else "\n")
        opened.write(line + "\n")
    return True


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return ""
