"""The command that `cas run` and `cas serve` start: where it is, and what it is given."""

from __future__ import annotations

import os
import shlex
import shutil

from cas import config
from cas.errors import InputError

# What signs releases is not handed on: a program that loads a model has no use for it.
_SECRET_KEYS = frozenset({"CAS_SIGNING_KEY", "CAS_SIGNING_PASSPHRASE", "CAS_ATTEST_KEY"})


class CommandNotFound(InputError):
    """There is no command of this name; the exit code is that of shells (POSIX, Shell Command Language, 2.8.2)."""

    exit_code = 127


class CommandNotExecutable(InputError):
    """The command is there and cannot be executed; the exit code is that of shells (POSIX, as above)."""

    exit_code = 126

    @classmethod
    def because(cls, program: str, error: OSError) -> CommandNotExecutable:
        """Return the error for a program that the operating system refuses to execute."""
        return cls(f"{program} cannot be run: {error.strerror}")


def find_program(name: str) -> str:
    """Return the path of a command.

    Args:
        name: its path, or a name to look for in PATH.

    Raises:
        CommandNotFound: there is none.
        CommandNotExecutable: it is a folder, or a file that this user may not execute.
    """
    if found := shutil.which(name):
        return found
    if os.path.dirname(name) and os.path.isdir(name):
        raise CommandNotExecutable(f"{name} is a folder, and no command: name a file in it")
    folders = [""] if os.path.dirname(name) else os.get_exec_path()
    for path in (os.path.join(folder, name) for folder in folders):
        if os.path.isfile(path):
            raise CommandNotExecutable(f"{path} is not executable: allow it with chmod +x {shlex.quote(path)}")
    raise CommandNotFound(f"command {name} is not found: check its name and PATH")


def inherited_variables() -> dict[str, str]:
    """The variables of this process as it got them, without the secret keys that sign."""
    return {name: value for name, value in config.inherited().items() if name not in _SECRET_KEYS}
