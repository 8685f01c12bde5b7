"""On Windows, the command and the package say where they run, before they import what does not exist there."""

from __future__ import annotations

import subprocess
import sys

import pytest

AS_ON_WINDOWS = """
import sys
import click  # it has code of its own for Windows, which cannot run here
sys.platform = "win32"
for name in ("fcntl", "pwd", "grp", "resource", "termios", "tty", "pty"):
    sys.modules[name] = None
"""
LINE = "model-cas runs on Linux and macOS: on Windows, run it in WSL (wsl --install)"


def on_windows(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process that takes its system for Windows, and cannot import what Windows lacks."""
    call = [sys.executable, "-c", AS_ON_WINDOWS + code, *words]
    return subprocess.run(call, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("words", [("ls",), ("restore", "minilm", "--json")])
def test_the_command_is_one_clear_line(words: tuple[str, ...]) -> None:
    done = on_windows("from cas.cli import main; main()", *words)
    assert (done.returncode, done.stderr) == (2, f"cas: {LINE}\n")
    assert ("PlatformUnsupported" in done.stdout) == ("--json" in words)


def test_the_package_can_be_imported_and_says_it_at_the_first_use() -> None:
    done = on_windows(
        "import cas; print(cas.__version__)\n"
        "try: cas.restore\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == [f"PlatformUnsupported {LINE}"]
