"""The README and the tutorial can be followed line by line, print what they show, and their Python runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.guides import Reader
from tests.support.guides_reader import put_python, reader
from tests.support.models import write_tree
from tools import chart
from tools.models.minilm import model_dir

__all__ = ["reader"]

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
TUTORIAL = ROOT / "docs/tutorial.md"

_SERVE = """
import huggingface_hub, os
assert os.environ["HF_HUB_OFFLINE"] == "1"
print("serving", huggingface_hub.hf_hub_download("sentence-transformers/all-MiniLM-L6-v2", "config.json"))
"""


@pytest.fixture
def newcomer(reader: Reader, tmp_path: Path) -> Reader:
    """A reader whose hub has minilm, with weights of their own, a script, and a store in their data home."""
    shutil.copytree(model_dir(), tmp_path / "hub/sentence-transformers/all-MiniLM-L6-v2")
    reader.env |= {f"XDG_{kind}_HOME": str(tmp_path / f"xdg-{kind}") for kind in ("CACHE", "CONFIG", "DATA")}
    weights = {"weights/model.safetensors": b"\2" + bytes(7) + b"{}", "weights/config.json": b"{}"}
    write_tree(reader.folder, {**weights, "serve.py": _SERVE.encode()})
    reader.put["s3://second@models-eu/cas"] = str(tmp_path / "second")
    reader.put["~/.local/share/model-cas"] = str(tmp_path / "xdg-DATA/model-cas")
    reader.put["/tmp/second-machine"] = str(tmp_path / "second-machine")
    return reader


def shell_lines(document: Path) -> list[str]:
    """Lines of the document's sh blocks that call `cas`, without their comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", document.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    lines = (line.split("  #")[0].strip() for block in blocks for line in block.splitlines())
    return [line for line in lines if re.search(r"(^|\(|^[A-Z_]+=\S+ )cas\b", line)]


def run_python(document: Path, reader: Reader) -> list[str]:
    """Run the document's one Python block, and return the lines that it prints."""
    (code,) = re.findall(r"^```python\n(.*?)^```", document.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    ran = subprocess.run(
        [sys.executable, "-c", reader.own(code)],
        cwd=reader.folder,
        env={**os.environ, **reader.env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


@pytest.mark.timeout(300)
def test_readme(newcomer: Reader) -> None:
    newcomer.follow(README)
    lines = shell_lines(README)
    assert len(lines) > 25, "the README shows every common task"
    for line in lines:
        printed = newcomer.printed(newcomer.own(line))
        assert "serve.py" not in line or "serving " in printed
    newcomer.env["XDG_CONFIG_HOME"] += "-of-another"  # where no keys are trusted
    snapshot, _, versions = run_python(README, newcomer)[-1].partition(" [")
    assert Path(snapshot).is_dir() and versions.startswith("<Version my-voice@")


def test_tutorial(newcomer: Reader) -> None:
    put_python(newcomer.folder.parent, Path(sys.executable))
    newcomer.follow(TUTORIAL)
    assert run_python(TUTORIAL, newcomer)[-1] == "104 tensors in memory, nothing written to disk"


def test_the_chart_shows_the_figures_of_the_page_about_performance() -> None:
    assert [bar.name for bar in chart.bars()][:3] == ["cas restore", "cas restore, float16 variant", "s5cmd cp"]
    assert chart.main(["--check"]) == 0, "run `python -m tools.chart`"
    alternative = " ".join(f"{bar.seconds:.1f}" for bar in chart.bars())
    (shown,) = re.findall(r"!\[(Seconds for 1\.40 GB[^\]]*)\]", README.read_text("utf-8"))
    assert " ".join(re.findall(r"(?<= )\d+\.\d(?=,|$)", shown)) == alternative
