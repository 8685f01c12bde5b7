"""The image: its Dockerfile is linted, and its steps are done in a clean virtual environment, in their order."""

from __future__ import annotations

import fnmatch
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import worker_env
from tools.lock import pins
from worker.jobs.schema import parse

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = ROOT / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Each instruction of the Dockerfile and what follows it, on one line."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = (line.strip().partition(" ") for line in text.splitlines() if line.strip())
    return [(name, re.sub(r"\s+", " ", rest)) for name, _, rest in lines]


def test_hadolint_has_nothing_to_say() -> None:
    command = [str(Path(sys.executable).with_name("hadolint")), str(DOCKERFILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_it_installs_what_the_tests_run_with() -> None:
    installs = [
        shlex.split(step.partition("pip install --no-cache-dir ")[2])
        for name, rest in instructions()
        if name == "RUN" and ".lock" in rest
        for step in rest.split("&&")
        if "pip install" in step
    ]
    assert installs == [[*step[:-1], str(Path(step[-1]).relative_to(ROOT))] for step in worker_env.STEPS]


def test_pip_takes_nothing_that_is_not_locked_with_its_hash() -> None:
    locks = [ROOT / "requirements" / name for name in ("build.lock", "worker.lock", "f5.lock")]
    for pin in (pin for lock in locks for pin in pins(lock.read_text())):
        assert re.fullmatch(r"[\w.-]+==[\w.]+(; sys_platform == \"linux\")?", pin), pin
    for rest in (rest for name, rest in instructions() if name == "RUN" and "pip" in rest):
        for step in rest.split(" && "):
            assert re.search(r"pip install .*--require-hashes .*-r requirements/\w+\.lock$", step), step
            assert "--no-build-isolation" in step or "worker.lock" not in step, "pip would build with what it finds"


def test_no_model_and_no_secret_goes_into_it() -> None:
    taken = {word for name, rest in instructions() if name == "COPY" for word in rest.split()[:-1]}
    assert not any(name in ("ADD",) for name, _ in instructions())
    assert taken == {"requirements/build.lock", "requirements/worker.lock", "requirements/f5.lock", "LICENSE", "cas",
                     "manifests", "worker"}  # fmt: skip
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for path in taken:
        assert (ROOT / path).exists()
        assert any(path == one or path.startswith(f"{one}/") for one in allowed), f"{path} is kept from the build"
    assert not re.search("(?i)(secret|token|password|access_key)", " ".join(rest for _, rest in instructions()))


def test_its_user_may_write_where_it_has_to() -> None:
    folders = {"/app/models"}  # the last of CAS_CACHE_DIRS
    for name, rest in instructions():
        if name == "ENV":
            folders |= {value for _, _, value in (part.partition("=") for part in shlex.split(rest)) if "/" in value}
    given = re.search(r"chown -R worker:worker ([/\w ]+)", " ".join(rest for _, rest in instructions()))
    assert given and set(given[1].split()) == folders == {"/app/models", "/app/matplotlib"}


@pytest.mark.timeout(200)
def test_its_steps_lead_to_a_worker(worker_python: Path, tmp_path: Path) -> None:
    app, venv = tmp_path / "app", tmp_path / "venv"
    app.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    packages = subprocess.check_output(
        [str(worker_python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    ).strip()
    home = tmp_path / "of-nobody"
    home.mkdir()
    environment = {"PATH": f"{venv / 'bin'}:/usr/bin:/bin", "HOME": str(home)}
    for name, rest in instructions():
        match name, rest:
            case "COPY", _:
                *sources, target = rest.split()
                for source in sources:
                    _copy(ROOT / source, app / target, folder=len(sources) > 1)
            case "RUN", _ if ".lock" in rest:
                # 6 GB, which the test above says are those of the worker's environment.
                own = next((venv / "lib").glob("python*/site-packages"))
                (own / "worker.pth").write_text(packages + "\n")
            case "RUN", _ if rest.startswith(("python", "chmod")):
                subprocess.run(["sh", "-ec", rest], cwd=app, env=environment, check=True, capture_output=True)
            case "ENV", _:
                environment |= dict(part.replace("=/app", f"={app}").split("=", 1) for part in shlex.split(rest))
    (command,) = [json.loads(rest) for name, rest in instructions() if name == "CMD"]
    _check_compiled(app)
    kept = [path for folder in ("cas", "manifests", "worker") for path in (app / folder).rglob("*")]
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in kept), "the worker's user reads what root copied"
    assert all(path.stat().st_mode & 0o111 == 0o111 for path in kept if path.is_dir())
    whole = _files(app)
    variables = {
        "CAS_CACHE_DIRS": str(tmp_path / "models"),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HUB_ETAG_TIMEOUT": "1",
    }
    ran = subprocess.run(
        [str(venv / "bin" / command[0]), *command[1:]],
        cwd=app,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 6, ran.stderr
    receipt = json.loads(ran.stdout.splitlines()[-1])
    assert receipt["event"] == "cold-start"
    assert any("no store is named" in cause for cause in receipt["causes"])
    assert (app / "matplotlib").is_dir()
    assert "font" not in ran.stderr and "matplotlib" not in ran.stderr.lower(), "the fonts were found while building"
    assert _files(app) == whole, "nothing is left to be written into the image: most users may not"
    assert not any(home.iterdir()), "nor into the user's home"


def _check_compiled(app: Path) -> None:
    """Whatever a worker imports from the image is there compiled, of the bytes that lie beside it; no clock counts."""
    sources = [path for package in ("cas", "worker") for path in (app / package).rglob("*.py")]
    assert len(sources) > 100
    for source in sources:
        compiled = Path(importlib.util.cache_from_source(str(source))).read_bytes()
        flags, digest = compiled[4:8], compiled[8:16]
        assert int.from_bytes(flags, "little") == 0b01, f"{source} is looked at, and compiled again"
        assert digest == importlib.util.source_hash(source.read_bytes())


def _files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def _copy(source: Path, target: Path, *, folder: bool) -> None:
    """As COPY does, from a clone that was made with a umask of 077."""
    skipped = shutil.ignore_patterns("__pycache__")
    if source.is_dir():
        shutil.copytree(source, target, ignore=skipped, dirs_exist_ok=True)
        for path in [target, *target.rglob("*")]:
            path.chmod(0o700 if path.is_dir() else 0o600)
    else:
        place = target / source.name if folder or str(target).endswith("/") else target
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)


def test_the_example_job_and_those_of_the_platforms_tests_are_good_ones() -> None:
    jobs = [json.loads((ROOT / "test_input.json").read_text())]
    jobs += json.loads((ROOT / ".runpod/tests.json").read_text())["tests"]
    for job in jobs:
        assert parse(job["input"]).text


# Pools that RunPod's Hub knows, and none of which has a GPU that torch's build for CUDA 13 does not run on:
# https://docs.runpod.io/references/gpu-types#gpu-pools
_POOLS = {"AMPERE_16", "AMPERE_24", "ADA_24", "ADA_32_PRO", "AMPERE_48", "ADA_48_PRO", "AMPERE_80", "ADA_80_PRO"}


def test_the_hubs_files_have_the_fields_that_it_documents() -> None:
    """Those of https://docs.runpod.io/hub/publishing-guide, with the values that it allows."""
    hub = json.loads((ROOT / ".runpod/hub.json").read_text())
    tests = json.loads((ROOT / ".runpod/tests.json").read_text())
    assert set(hub) == {"title", "description", "type", "category", "config"}
    assert hub["type"] == "serverless" and hub["category"] in ("audio", "embedding", "language", "video", "image")
    config = hub["config"]
    required = {"runsOn": "GPU", "containerDiskInGb": 20, "gpuCount": 1}
    assert {name: config[name] for name in required} == required
    assert set(config) - set(required) == {"gpuIds", "allowedCudaVersions", "env"}
    assert set(config["gpuIds"].split(",")) <= _POOLS
    for variable in config["env"]:
        assert set(variable) == {"key", "input"}
        assert {"name", "type", "description", "default"} <= set(variable["input"])
        assert set(variable["input"]) <= {"name", "type", "description", "default", "advanced"}
        assert variable["input"]["type"] == "string"
    for test in tests["tests"]:
        assert set(test) == {"name", "input", "timeout"} and isinstance(test["timeout"], int)
    assert set(tests["config"]) == {"gpuTypeId", "gpuCount", "allowedCudaVersions", "env"}
    assert all(set(variable) == {"key", "value"} for variable in tests["config"]["env"])
    # A machine where the tests do not run is one where the workers would not.
    assert config["allowedCudaVersions"] == tests["config"]["allowedCudaVersions"]


def test_only_machines_whose_driver_knows_torchs_cuda_are_asked_for() -> None:
    cuda = re.search(r"^cuda-toolkit==(\d+)\.(\d+)", (ROOT / "requirements/worker.lock").read_text(), re.MULTILINE)
    assert cuda
    for version in json.loads((ROOT / ".runpod/hub.json").read_text())["config"]["allowedCudaVersions"]:
        assert [int(part) for part in version.split(".")] >= [int(part) for part in cuda.groups()]


def test_the_hub_finds_what_it_asks_for(worker_python: Path, tmp_path: Path) -> None:
    """A handler.py, a Dockerfile and a README.md, "in either the .runpod or root directory", says its guide."""
    for name in ("Dockerfile", "README.md"):
        assert (ROOT / name).is_file()
    ran = subprocess.run(
        [str(worker_python), str(ROOT / ".runpod/handler.py")],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CAS_MIRRORS": "nowhere"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 2 and "CAS_MIRRORS" in ran.stderr, "it is the worker"


def test_every_variable_that_the_worker_reads_is_in_its_table() -> None:
    table = (ROOT / "worker/README.md").read_text()
    read = set()
    for path in (ROOT / "worker").rglob("*.py"):
        read |= set(re.findall(r"\"((?:CAS|ENABLE)_[A-Z0-9_]+)\"", path.read_text()))
    assert read, "it reads some"
    for name in read - {"CAS_SEEDS"}:
        assert name in table, f"{name} is not in worker/README.md"
    assert not fnmatch.filter(os.listdir(ROOT / "worker"), "*.safetensors")
