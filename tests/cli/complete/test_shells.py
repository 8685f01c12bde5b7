"""Completion in the real shells, at a terminal: what the user types, the TAB key, and the line that stands there."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from cas.cli.complete.shells import SHELLS
from tests.cli.complete.conftest import Named
from tests.support.in_process import call_cas

COMMANDS = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"], "fish": ["--no-config", "-i"]}
PATIENCE = 120
HOME, END_OF_LINE = "\x01", "\r"


class Terminal:
    """A shell at a terminal, which has loaded the completion script from a file, as its user would."""

    def __init__(self, shell: str, named: Named) -> None:
        folder = named.folder
        script = folder / f"cas.{shell}"
        script.write_text(call_cas("completion", shell).stdout)
        home = folder / f"home-{shell}"
        home.mkdir()
        variables = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "CAS_STORE": named.url,
            "TERM": "vt100",
            "LANG": "C.UTF-8",
        }
        self._shell = pexpect.spawn(
            shell, COMMANDS[shell], cwd=folder, env=variables, dimensions=(50, 400), encoding="utf-8", timeout=PATIENCE
        )
        self._shell.sendline(f". {script}")
        self._shell.sendline("echo rea''dy")
        self._shell.expect("ready")

    def line(self, typed: str) -> str:
        """Type something and press TAB; return the line that stands there then, as the shell would run it."""
        # Typed before the line, `echo` prints it instead; the shell reads these keys when it has completed.
        self._shell.send(f"{typed}\t{HOME}echo lin''e: {END_OF_LINE}")
        self._shell.expect(r"line: ([^\r\n]*?) *\r?\n")
        assert self._shell.match is not None
        return str(self._shell.match[1])

    def close(self) -> None:
        """End the shell."""
        self._shell.close(force=True)


@pytest.fixture(scope="module", params=sorted(SHELLS))
def terminal(request: pytest.FixtureRequest, named: Named) -> Iterator[Terminal]:
    """One shell for all lines that are tried in it."""
    shell = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    opened = Terminal(shell, named)
    yield opened
    opened.close()


def test_a_line_is_completed(terminal: Terminal, named: Named) -> None:
    short = named.minilm[:12]
    wanted = {
        "cas resto": "cas restore",
        "cas show whi": "cas show whisper",
        "cas show minilm:f": "cas show minilm:fp16",
        f"cas show minilm@{short[:2]}": f"cas show minilm@{short}",
        "cas show pin:": "cas show pin:eu-prod/minilm",
        "cas untag minilm:fp16 minilm:la": "cas untag minilm:fp16 minilm:latest",
        "cas copy minilm:fp16 --pin eu": "cas copy minilm:fp16 --pin eu-prod",
        "cas restore --lock=mini": "cas restore --lock=minilm.lock",
        "cas --store sto": "cas --store store",
        # Nothing fits, or the store is not there: nothing is added, and no error gets into the line.
        "cas show none:": "cas show none:",
        "cas --store=nowhere show min": "cas --store=nowhere show min",
    }
    assert {typed: terminal.line(typed).removesuffix("/") for typed in wanted} == wanted
