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

from tools import image, worker_env
from tools.lock import pins
from worker.jobs.schema import parse

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = ROOT / "Dockerfile"
LOCKS = ("requirements/torch.lock", "requirements/worker.lock", "requirements/f5.lock")

LOADED = """
import sysconfig, torch
print(sysconfig.get_path("purelib"))
print(*sorted({line.split()[-1] for line in open("/proc/self/maps") if "/site-packages/" in line}), sep="\\n")
"""
# What cuDNN loads by itself on a GPU; its part `adv` (recurrent networks) it loads for those alone.
CUDNN = ("", "_graph", "_ops", "_cnn", "_engines_precompiled", "_engines_runtime_compiled", "_heuristic")


def instructions() -> list[tuple[str, str]]:
    """Each instruction of the Dockerfile and what follows it, on one line."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = (line.strip().partition(" ") for line in text.splitlines() if line.strip())
    return [(name, re.sub(r"\s+", " ", rest)) for name, _, rest in lines]


def requirements(path: Path) -> list[str]:
    """The names of the packages that a file of requirements lists."""
    return [re.split("[=<>; ]", line)[0] for line in path.read_text().splitlines() if line and not line.startswith("#")]


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
    for pin in (pin for lock in LOCKS for pin in pins((ROOT / lock).read_text())):
        assert re.fullmatch(r"[\w.-]+==[\w.]+(; sys_platform == \"linux\")?", pin), pin
    steps = [step for name, rest in instructions() if name == "RUN" for step in rest.split(" && ") if "pip " in step]
    assert len(steps) == len(LOCKS)
    for step in steps:
        assert re.search(
            r"pip install .*--require-hashes --only-binary=:all: --no-deps -r requirements/\w+\.lock$", step
        )


def test_it_contains_nothing_that_only_trains_or_reports() -> None:
    packages = {re.split("[=; ]", pin)[0].lower() for lock in LOCKS for pin in pins((ROOT / lock).read_text())}
    named = {line.lower() for name in ("torch.in", "worker.in") for line in requirements(ROOT / "requirements" / name)}
    assert packages == named | {"f5-tts"}
    unwanted = "wandb sentry-sdk transformers accelerate datasets pandas pyarrow librosa numba llvmlite scikit-learn"
    unwanted += " scipy matplotlib sympy triton torchcodec opentelemetry-sdk hydra-core gradio ema-pytorch einx encodec"
    assert not packages & set(unwanted.split())
    assert "apt-get" not in DOCKERFILE.read_text(), "neither FFmpeg nor anything else of the system"


def test_the_base_is_named_by_its_digest_and_can_be_another_one() -> None:
    (base,) = [rest for name, rest in instructions() if name == "ARG" and rest.startswith("BASE=")]
    assert re.fullmatch(r"BASE=python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", base)
    assert [rest for name, rest in instructions() if name == "FROM"] == ["${BASE}"]


def test_no_model_and_no_secret_goes_into_it() -> None:
    taken = {word for name, rest in instructions() if name == "COPY" for word in rest.split()[:-1]}
    assert not any(name in ("ADD",) for name, _ in instructions())
    assert taken == {*LOCKS, "LICENSE", "THIRD-PARTY.md", "cas", "manifests", "worker"}
    first, *lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert first == "*", "nothing gets in that is not named"
    assert {line[1:] for line in lines if line.startswith("!")} == taken, "what is copied gets in, and nothing else"
    assert all((ROOT / path).exists() for path in taken)
    assert not re.search("(?i)(secret|token|password|access_key)", " ".join(rest for _, rest in instructions()))


def test_its_user_may_write_where_it_has_to() -> None:
    folders = {"/app/models"}  # the last of CAS_CACHE_DIRS
    for name, rest in instructions():
        if name == "ENV":
            folders |= {value for _, _, value in (part.partition("=") for part in shlex.split(rest)) if "/" in value}
    given = [rest.partition("chown worker:worker ")[2].split() for _, rest in instructions() if "chown" in rest]
    assert [set(paths) for paths in given] == [folders] == [{"/app/models"}]


def test_no_library_that_the_worker_loads_is_removed(worker_python: Path) -> None:
    """Import what speaks, and look at what the process has mapped; libraries for other calls are named beside it."""
    done = subprocess.run([str(worker_python), "-c", LOADED], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    packages, *loaded = done.stdout.splitlines()
    (removed,) = [shlex.split(rest.partition("rm -r ")[2]) for name, rest in instructions() if "rm -r " in rest]
    assert any("libtorch_cuda.so" in path for path in loaded) and len(loaded) > 20
    later = [f"nvidia/cu13/lib/lib{name}" for name in ("cusolver.so.12", "nvrtc.so.13", "nvrtc-builtins.so.13.0")]
    later += [f"nvidia/cudnn/lib/libcudnn{name}.so.9" for name in CUDNN]
    for path in [*(os.path.relpath(path, packages) for path in loaded), *later]:
        assert os.path.exists(os.path.join(packages, path)), path
        assert not any(path.startswith(f"{gone}/") or fnmatch.fnmatch(path, gone) for gone in removed), path
    for pattern in removed:
        assert list(Path(packages).glob(pattern)), f"{pattern} removes nothing"


def test_the_table_of_its_parts_is_that_of_the_tool_and_adds_up() -> None:
    text = (ROOT / "worker/README.md").read_text()
    table = text.partition("| part | MB |\n")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| ([^|:]+)(?::[^|]*)? \| ([\d,]+) \|$", table, re.MULTILINE)
    sizes = {name.strip(): int(size.replace(",", "")) * 1e6 for name, size in rows}
    assert sizes.keys() == image.PARTS.keys()
    (total,) = re.findall(r"^([\d.]+) GB unpacked", text, re.MULTILINE)
    assert sum(sizes.values()) == pytest.approx(float(total) * 1e9, abs=10e6)
    assert float(total) * 1e9 <= image.MOST


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
                # 4 GB, which the test above says are those of the worker's environment.
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


def test_every_variable_that_the_worker_reads_is_in_its_table() -> None:
    table = (ROOT / "worker/README.md").read_text()
    read = set()
    for path in (ROOT / "worker").rglob("*.py"):
        read |= set(re.findall(r"\"((?:CAS|ENABLE)_[A-Z0-9_]+)\"", path.read_text()))
    assert read, "it reads some"
    for name in read - {"CAS_SEEDS"}:
        assert name in table, f"{name} is not in worker/README.md"
    assert not fnmatch.filter(os.listdir(ROOT / "worker"), "*.safetensors")
