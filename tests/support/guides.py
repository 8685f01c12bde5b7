"""Follow a guide as its reader does: run the commands of its `console` blocks in order, and compare what they print.

In a `console` block a line that begins with `$ ` is a command of a shell; the lines below it are what the command
prints. `…` stands for any text in a line, and a line of `…` alone for any number of lines. A command that ends with
` &` runs until the guide's end; the next command begins when what the guide shows below it was printed.

A `yaml` block that is a workflow of GitHub Actions has steps that run commands: `Reader.ends` runs one as runners do.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import yaml

from tests.support.in_process import call_cas
from tests.support.processes import until

_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PROGRESS = re.compile(r"^(?:.+ [\d.,]+ of [\d.,]+ MB.*|.+, \d+ s so far)\n", re.MULTILINE)
"""What a command prints of its progress now and then, where it takes long."""

_FOR_A_SHELL = re.compile(r"[|&;<>`*?$(){}]")


class Step(NamedTuple):
    """A command of a guide.

    Attributes:
        command: the command, on one line.
        printed: the lines that the guide shows below it.
    """

    command: str
    printed: tuple[str, ...]


def steps_of(text: str) -> list[Step]:
    """Return the commands of a document's `console` blocks, in order."""
    steps: list[Step] = []
    for block in _BLOCK.findall(text):
        for line in re.sub(r" *\\\n *", " ", block).splitlines():
            if line.startswith("$ "):
                steps.append(Step(re.sub(r" {2,}#.*", "", line[2:]).strip(), ()))
            else:
                assert steps, f"{line!r} stands before any command"
                steps[-1] = Step(steps[-1].command, (*steps[-1].printed, line))
    return steps


def workflow_steps(text: str) -> dict[str, dict[str, Any]]:
    """Return the steps with a name of the one workflow that a document shows, each with all variables that it has."""
    (block,) = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    workflow = yaml.safe_load(block)
    return {
        step["name"]: {**step, "env": {**workflow.get("env", {}), **job.get("env", {}), **step.get("env", {})}}
        for job in workflow["jobs"].values()
        for step in job["steps"]
        if "name" in step
    }


def fits(printed: str, shown: tuple[str, ...]) -> bool:
    """Return whether a command printed what a guide shows, progress aside.

    Args:
        printed: everything that the command printed.
        shown: the lines of the guide; none of them says that the output does not matter.
    """
    pattern = "".join(
        r"(?:.*\n)*" if line.strip() == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in shown
    )
    printed = _PROGRESS.sub("", printed if printed.endswith("\n") else f"{printed}\n")
    return not shown or re.fullmatch(pattern, printed) is not None


class Reader:
    """Somebody who follows a guide in a folder of their own; the programs that run until the end end with the context.

    Args:
        folder: where the commands run.
        env: variables to begin with, beside those of this process; `export` adds to them.
        put: what the reader writes in place of what the guide says: bucket, port, folders.
    """

    def __init__(self, folder: Path, env: Mapping[str, str], put: Mapping[str, str]) -> None:
        self.folder, self.env, self.put = folder, dict(env), dict(put)
        self._running: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait(timeout=30)

    def follow(self, guide: Path) -> list[Step]:
        """Run every command of a guide, check that each succeeds and prints what is shown, and return the commands."""
        steps = steps_of(self.own(guide.read_text("utf-8")))
        for command, shown in steps:
            if command.startswith("export "):
                self.env |= dict(word.split("=", 1) for word in shlex.split(command)[1:])
            elif command.endswith(" &"):
                self._start(command[:-2], shown)
            else:
                code, printed = self._run(command)
                assert code == 0, f"{guide.name}: `{command}` ended with {code}\n{printed}"
                assert fits(printed, shown), _difference(guide, command, printed, shown)
        return steps

    def own(self, text: str) -> str:
        """Return a guide's text with what this reader writes in place of what it says."""
        for shown, own in self.put.items():
            text = text.replace(shown, own)
        return text

    def printed(self, command: str) -> str:
        """Run a command that succeeds, and return what it prints."""
        code, printed = self._run(command)
        assert code == 0, printed
        return printed

    def ends(self, step: Mapping[str, Any], values: Mapping[str, str]) -> int:
        """Run a step of a workflow, and return its exit code; what it prints goes to this process's standard output.

        Args:
            step: as `workflow_steps` returns it.
            values: what expressions stand for (`secrets.NAME`); a secret that does not exist is empty, as on a runner.
        """
        given = {
            name: re.sub(r"\$\{\{ ([\w.]+) \}\}", lambda match: values.get(match[1], ""), value)
            for name, value in step["env"].items()
        }
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        ran = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, **self.env, **given},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        print(ran.stdout)
        return ran.returncode

    def _run(self, command: str) -> tuple[int, str]:
        words = [] if _FOR_A_SHELL.search(command) else shlex.split(command)
        # Whoever publishes does so on another machine, whose cache is another.
        env = {**self.env, **({"HF_HOME": f"{self.folder}.publisher"} if " publish " in command else {})}
        if words[:1] == ["cas"] and not {"publish", "run", "--"} & set(words):
            # publish downloads with huggingface_hub, which reads its variables when it is imported
            with contextlib.chdir(self.folder):
                done = call_cas(*words[1:], env=env)
            return done.returncode, done.stderr + done.stdout
        ran = subprocess.run(
            ["sh", "-ec", command],
            cwd=self.folder,
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return ran.returncode, ran.stdout

    def _start(self, command: str, shown: tuple[str, ...]) -> None:
        with tempfile.NamedTemporaryFile("r", dir=self.folder, prefix="printed-") as log:
            with open(log.name, "w", encoding="utf-8") as into:
                process = subprocess.Popen(
                    ["sh", "-ec", f"exec env {command}"],  # the signal that ends it goes to the program itself
                    cwd=self.folder,
                    env={**os.environ, **self.env},
                    stdout=into,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            self._running.append(process)

            def is_ready() -> bool:
                log.seek(0)
                printed = log.read()
                assert process.poll() is None, f"`{command}` ended with {process.returncode}\n{printed}"
                return fits(printed, shown)

            until(is_ready, timeout=90)


def _difference(guide: Path, command: str, printed: str, shown: tuple[str, ...]) -> str:
    return f"{guide.name} shows below `{command}`\n" + "\n".join(shown) + f"\nand it printed\n{printed}"


def path_with_cas() -> str:
    """Return a PATH on which `cas` is the command of this environment."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
