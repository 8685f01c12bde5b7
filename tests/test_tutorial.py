"""The tutorial can be followed line by line, and its Python runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.guides import Reader
from tests.support.guides_reader import put_python, reader
from tools.models.minilm import model_dir

__all__ = ["reader"]

ROOT = Path(__file__).parent.parent


def test_tutorial(reader: Reader, tmp_path: Path) -> None:
    shutil.copytree(model_dir(), tmp_path / "hub/sentence-transformers/all-MiniLM-L6-v2")
    put_python(tmp_path, ROOT / ".venv/hubs/2.4/bin/python")
    reader.put["/tmp/second-machine"] = str(tmp_path / "second-machine")
    reader.env["CAS_STORE"] = str(tmp_path / "store")
    reader.follow(ROOT / "docs/tutorial.md")
    (code,) = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs/tutorial.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **reader.env}, capture_output=True, text=True, check=False
    )
    assert ran.stdout.endswith("104 tensors in memory, nothing written to disk\n"), ran.stderr
