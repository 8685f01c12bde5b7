"""The environment that the worker runs in: whole, locked, and made once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools import worker_env
from tools.worker_env import EnvironmentMissing

IMPORTS = """
import json
from importlib import metadata

import f5_tts.infer.utils_infer, f5_tts.model, runpod, torch, torchaudio, torchcodec, vocos
import cas

print(json.dumps({found.name: found.version for found in metadata.distributions()}))
"""


@pytest.fixture(autouse=True)
def this_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that a test starts import this clone: the worker's environment is shared, so it holds none."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


@pytest.fixture
def steps(tmp_path: Path) -> list[list[str]]:
    """Installs nothing: an empty lock file."""
    lock = tmp_path / "empty.lock"
    lock.write_text("# nothing\n")
    return [["-r", str(lock)]]


def test_everything_that_inference_needs_imports_at_its_locked_version(worker_python: Path) -> None:
    command = [worker_python, "-c", IMPORTS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    linux = sys.platform == "linux"
    wanted = worker_env.versions() if linux else {"torch": "2.11.0", "runpod": "1.12.0", "f5-tts": "1.1.22"}
    assert {name: version for name, version in found.items() if name in wanted} == wanted


def test_the_place_follows_the_cache_the_locks_and_nothing_else(tmp_path: Path, steps: list[list[str]]) -> None:
    home = worker_env.folder({"HOME": "/home/me"}, steps)
    assert home.parent == Path("/home/me/.cache/model-cas")
    assert worker_env.folder({"HOME": "/home/me", "XDG_CACHE_HOME": "/caches"}, steps).parent.parent == Path("/caches")
    lock = Path(steps[0][-1])
    lock.write_text("# another comment\n")
    assert worker_env.folder({"HOME": "/home/me"}, steps) == home
    lock.write_text("torch==2.11.0\n")
    assert worker_env.folder({"HOME": "/home/me"}, steps) != home


def test_two_at_once_make_one_environment(tmp_path: Path, steps: list[list[str]]) -> None:
    script = "import sys; from pathlib import Path; from tools import worker_env; "
    script += "worker_env.make(Path(sys.argv[1]), [sys.argv[2:]])"
    command = [sys.executable, "-c", script, str(tmp_path / "env"), *steps[0]]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert "".join(said).count("setting up") == 1
    answer = subprocess.run([tmp_path / "env/bin/python", "-c", "print(6 * 7)"], capture_output=True, check=True)
    assert answer.stdout == b"42\n"


def test_half_an_environment_does_not_count_and_is_made_anew(tmp_path: Path, steps: list[list[str]]) -> None:
    place = tmp_path / "env"
    with pytest.raises(EnvironmentMissing, match="make worker-env"):
        worker_env.python(place)
    broken = [*steps, ["-r", str(tmp_path / "none.lock")]]
    with pytest.raises(EnvironmentMissing, match=r"none\.lock"):
        worker_env.make(place, broken)
    assert (place / "bin/python").exists()
    with pytest.raises(EnvironmentMissing, match="make worker-env"):
        worker_env.python(place)
    (place / "left-over").touch()
    assert worker_env.make(place, steps) == place / "bin/python"
    assert not (place / "left-over").exists()


def test_a_missing_ffmpeg_is_named(tmp_path: Path) -> None:
    worker_env.require_ffmpeg()
    with pytest.raises(EnvironmentMissing, match="apt install ffmpeg"):
        worker_env.require_ffmpeg(str(tmp_path))
