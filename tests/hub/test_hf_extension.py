"""`hf cas`: the extension of Hugging Face's command line, installed and run by the real client."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cas.version import __version__

pytest.importorskip("huggingface_hub.cli.extensions", reason="this huggingface_hub has no extensions")

EXTENSION = Path(__file__).parent.parent.parent / "integrations/hf-cas"

# GitHub alone is stood in for: it answers with the files of the extension's folder, and with "not found".
CLIENT = """
import sys
from pathlib import Path
from types import SimpleNamespace
from huggingface_hub.cli import extensions, hf

folder = Path(sys.argv.pop(1))

def answer(method, url, **options):
    if url.endswith("/info/refs"):
        return SimpleNamespace(text="0" * 40 + " HEAD\\0")
    name = url.removeprefix("https://raw.githubusercontent.com/someone/hf-cas/HEAD/")
    return SimpleNamespace(content=(folder / name).read_bytes() if method == "GET" else b"")

extensions._github_request = answer
hf.main()
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home of its own, and no request to the hub."""
    own = {"HOME": str(tmp_path), "HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HUB_OFFLINE": "1", "NO_COLOR": "1"}
    return {**os.environ, **own, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def test_hf_cas_is_cas(environment: dict[str, str], tmp_path: Path) -> None:
    def run(*words: str, path: str = environment["PATH"]) -> subprocess.CompletedProcess[str]:
        environment["PATH"] = path
        return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, check=False)

    installed = run(sys.executable, "-c", CLIENT, str(EXTENSION), "extensions", "install", "someone/hf-cas")
    assert installed.returncode == 0, installed.stderr
    assert (tmp_path / ".local/share/hf/extensions/hf-cas/hf-cas").read_bytes() == (EXTENSION / "hf-cas").read_bytes()
    told = run("hf", "cas", "--version")
    assert (told.returncode, told.stdout) == (0, f"cas {__version__}\n"), told.stderr
    refused = run("hf", "cas", "--store", str(tmp_path / "none"), "ls")
    assert refused.returncode == 3, "the exit code is that of cas"
    without = run(sys.executable, "-m", "huggingface_hub.cli.hf", "cas", "ls", path="/bin:/usr/bin")
    assert (without.returncode, without.stderr.strip()) == (
        127,
        "hf cas: the command cas is not found: pip install 'model-cas[hub]'",
    )
