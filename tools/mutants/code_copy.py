"""A copy of the code in which a mutant is applied and its tests run."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tools.mutants.mutant import Mutant

_PYTEST = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
_PASSED, _FAILED = 0, 1


class CodeCopy:
    """A copy of the code that may be changed, and tests that run in it.

    Attributes:
        code: the folder of the copy.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        """Copy the files of the git repository `root`, without those that git ignores, to a folder."""
        self.code, self._scratch = folder / "code", folder / "t"
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(listed, cwd=root, check=True, capture_output=True, text=True).stdout.split("\0"):
            if (root / name).is_file():
                (self.code / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, self.code / name)
        (self.code / ".venv").symlink_to(root / ".venv")  # the tests find hub clients there
        self._changes = 0

    def verdict_on(self, mutant: Mutant, seconds: float) -> str:
        """Return how the mutant was noticed; an empty text when its tests passed."""
        path = self.code / mutant.file
        kept = path.read_bytes()
        self._write(path, mutant.apply(self.code).encode())
        try:
            code, output = self.run(mutant.tests, seconds)
        finally:
            self._write(path, kept)
        if code is None:
            return "noticed (hang)"
        if code == _PASSED:
            return ""
        failed = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
        if code != _FAILED and not failed:
            raise SystemExit(f"{output}\npytest ended with {code} for: {mutant.why}")
        return f"noticed by {failed[1] if failed else '?'}"

    def run(self, tests: tuple[str, ...], seconds: float) -> tuple[int | None, str]:
        """Return pytest's exit code and output; no code when it did not end in time."""
        env = {**os.environ, "PYTHONPATH": str(self.code)}
        command = [*_PYTEST, f"--basetemp={self._scratch}", *tests]
        with subprocess.Popen(
            command, cwd=self.code, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        ) as process:  # fmt: skip
            try:
                output, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                return None, ""
            finally:
                _end_group(process)
        return process.returncode, output

    def _write(self, path: Path, data: bytes) -> None:
        path.write_bytes(data)
        # Python takes compiled code for current when the source has the same size and the same second of change.
        self._changes += 1
        os.utime(path, (self._changes, self._changes))


def _end_group(process: subprocess.Popen[str]) -> None:
    """Kill pytest and the processes that it left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
