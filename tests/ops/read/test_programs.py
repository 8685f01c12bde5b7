"""pandas, datasets and torch as they are, reading from a store; and tensors of the types that numpy lacks.

One process for all steps: the imports take longer than they do.
"""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.test_layout import ROOT


@pytest.fixture(scope="module")
def results(reference_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("programs")
    # The environment has the packages, and not this project: what an installation writes for fsspec to find it.
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    text = "".join(
        f"[{group}]\n" + "".join(f"{name} = {where}\n" for name, where in of.items()) for group, of in points.items()
    )
    installed = folder / "installed" / "model_cas-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "entry_points.txt").write_text(text)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: model-cas\nVersion: 0\n")
    done = subprocess.run(
        [reference_python, str(ROOT / "tests/ops/read/in_programs.py"), str(folder)],
        env=os.environ
        | {
            "CAS_STORE": str(folder / "store"),
            "HOME": str(folder),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(installed.parent)]),
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("step", ["publish", "by_pandas", "by_datasets", "by_torch", "load_tensors", "to_a_device"])
def test_step(step: str, results: dict[str, str]) -> None:
    assert results[step] == ""
