"""What the worker's tests share: the environment that it runs in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import worker_env

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")  # before any test moves HOME away
def worker_python() -> Path:
    """The interpreter that has torch, F5-TTS and the RunPod SDK."""
    try:
        worker_env.require_ffmpeg()
        return worker_env.python(worker_env.folder())
    except worker_env.EnvironmentMissing as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(autouse=True)
def this_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that a test starts import this clone: the environment is shared, so it holds none."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
