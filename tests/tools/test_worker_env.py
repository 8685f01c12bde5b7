"""The environments of the worker and of the tests beside it: whole, locked, and made once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools import worker_env
from tools.worker_env import EnvironmentMissing

VERSIONS = """
print(json.dumps({found.name: found.version for found in reversed(list(metadata.distributions()))}))  # the first counts
"""
WORKER = """
import json
from importlib import metadata

from worker import imports
with imports.hurried():
    import runpod, torch
    from worker.speech import f5
import cas, hf_xet, huggingface_hub
from cas.hub import download
from runpod.serverless.modules import rp_fastapi
"""
REFERENCE = """
import json
from importlib import metadata

import f5_tts.api, f5_tts.infer.utils_infer, runpod, torch, torchaudio, vocos
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


def _found(python: Path, code: str) -> dict[str, str]:
    """Run code that imports packages, and return the versions of all packages that the interpreter has."""
    done = subprocess.run(
        [python, "-W", "ignore", "-c", code + VERSIONS], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_everything_that_the_worker_needs_imports_at_its_locked_version_and_nothing_more_is_there(
    worker_python: Path,
) -> None:
    found = _found(worker_python, WORKER)
    linux = sys.platform == "linux"
    wanted = worker_env.versions() if linux else {"torch": "2.11.0", "runpod": "1.12.0", "f5-tts": "1.1.22"}
    assert {name: version for name, version in found.items() if name in wanted} == wanted
    assert not linux or found.keys() - wanted.keys() == {"pip", "setuptools"}, "venv brings these"


def test_plain_f5_tts_imports_where_the_worker_is_compared_with_it(worker_python: Path, reference_python: Path) -> None:
    found = _found(reference_python, REFERENCE)
    wanted = worker_env.versions((*worker_env.STEPS, *worker_env.REFERENCE_STEPS))
    if sys.platform == "linux":
        assert {name: version for name, version in found.items() if name in wanted} == wanted
    torch = "import torch; print(torch.__file__)"
    places = {subprocess.check_output([python, "-c", torch]) for python in (worker_python, reference_python)}
    assert len(places) == 1, "torch is there once: it takes gigabytes"


def test_programs_that_load_models_are_there_beside_transformers_and_torch(clients_python: Path) -> None:
    found = _found(
        clients_python, "import json\nfrom importlib import metadata, util\nassert util.find_spec('torch')\n"
    )
    found = {name.replace("_", "-"): version for name, version in found.items()}
    if sys.platform == "linux":
        wanted = worker_env.versions(worker_env.CLIENT_STEPS) | {"transformers": found["transformers"]}
        wanted = {name.replace("_", "-"): version for name, version in wanted.items()}
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


def test_the_reference_environment_follows_the_workers_locks_too(tmp_path: Path) -> None:
    mine = worker_env.reference_folder({"HOME": "/home/me"})
    assert mine.parent == Path("/home/me/.cache/model-cas") and mine.name.startswith("reference-")
    own = worker_env.folder({"HOME": "/home/me"}, worker_env.REFERENCE_STEPS, "reference")
    assert mine != own, "another torch is another environment"


def test_an_environment_sees_the_packages_of_its_base_and_its_own_first(tmp_path: Path, steps: list[list[str]]) -> None:
    base, over = tmp_path / "base", tmp_path / "over"
    worker_env.make(base, steps)
    packages = base.glob("lib/python*/site-packages")
    (next(packages) / "below.py").write_text("where = 'base'\n")
    python = worker_env.make(over, steps, base)
    code = "import below, sys; print(below.where, [path for path in sys.path if 'site-packages' in path])"
    said = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("base ") and said.index(str(over)) < said.index(str(base))


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
