"""The real worker's start, where the model comes and something else is wrong: told, and survived if it can be."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import until
from tools.deployment import Deployment
from worker.boot import device

DEVICES = """
import json, sys
from pathlib import Path
from worker.boot import device
found = {}
for name, asked, nodes in json.loads(sys.argv[1]):
    device._NODES = Path(nodes)
    try:
        found[name] = device.choose(asked)
    except device.NoGpu as error:
        found[name] = str(error)

# GPUs that are not here; what this torch was built for is real.
import torch
torch.cuda.is_available = lambda: True
torch.cuda.get_device_name = lambda: "GPU"
def fails():
    raise torch.AcceleratorError("CUDA error: CUDA-capable device(s) is/are busy or unavailable\\nSearch for ...")
cards = {"T4": (7, 5), "4090": (8, 9), "H200": (9, 0), "5090": (12, 0), "V100": (7, 0), "newer": (13, 0), "busy": None}
for name, capability in cards.items():
    torch.cuda.get_device_capability = (lambda: capability) if capability else fails
    try:
        found[name] = device.choose()
    except device.GpuFailed as error:
        found[name] = f"{error.exit_code}: {error}"
print(json.dumps(found))
"""


def test_a_gpu_that_cannot_be_used_is_no_reason_to_be_slow(worker_python: Path, tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "host/nvidia0").touch()
    (tmp_path / "none").mkdir()
    cases = [
        ("none", "", tmp_path / "none"),
        ("cpu", "cpu", tmp_path / "host"),
        ("there", "", tmp_path / "host"),
        ("asked", "cuda", tmp_path / "none"),
    ]
    command = [worker_python, "-c", DEVICES, json.dumps(cases, default=str)]
    done = subprocess.run(
        command, env={"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["none"], found["cpu"]) == ("cpu", "cpu")
    for name in ("there", "asked"):
        assert "cannot use this machine's GPU" in found[name]
        assert "set CAS_DEVICE=cpu" in found[name]
    assert {found[name] for name in ("T4", "4090", "H200", "5090")} == {"cuda"}
    for name, capability in (("V100", "7.0"), ("newer", "13.0")):
        assert "9: torch 2.11.0" in found[name] and "has no code for this machine's GPU" in found[name]
        assert f"(compute capability {capability}; there is sm_75, sm_80, " in found[name]
    assert found["busy"].startswith(
        "9: the GPU cannot be used (CUDA error: CUDA-capable device(s) is/are busy or unavail"
    )


def test_code_for_a_newer_gpu_does_not_run_on_an_older_one() -> None:
    assert device.runs_on((8, 9), ["sm_80"]) and device.runs_on((8, 0), ["sm_80"])
    assert not device.runs_on((8, 0), ["sm_86"]), "a later minor"
    assert not device.runs_on((9, 0), ["sm_80", "sm_86"]), "another major"
    assert device.runs_on((12, 1), ["compute_90"]) and not device.runs_on((8, 9), ["compute_90"])
    assert device.runs_on((9, 0), ["sm_90a"]) and not device.runs_on((9, 1), ["sm_90a"])
    assert device.runs_on((12, 1), ["gfx90a", "sm_120f"])


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("variable", "value", "code", "cause"),
    [
        ("CAS_F5_CONFIG", "/nowhere.yaml", 5, "/nowhere.yaml"),
        ("CAS_DEVICE", "cuda", 1, "cannot use this machine's GPU"),
    ],
)
def test_a_model_that_cannot_be_used_is_a_cold_start_that_failed(
    variable: str, value: str, code: int, cause: str, deployment: Deployment
) -> None:
    worker = deployment.start(**{variable: value, "CUDA_VISIBLE_DEVICES": ""})
    assert worker.wait(timeout=120) == code, deployment.log()
    receipt = deployment.receipt()
    assert receipt["ok"] is False
    assert cause in receipt["causes"][0] and str(deployment.models) in receipt["causes"][0]
    assert {"imports", "restore.resolve"} <= {phase["name"] for phase in receipt["phases"]}


@pytest.mark.timeout(120)
def test_a_worker_that_is_told_to_end_does_so_while_it_boots(deployment: Deployment) -> None:
    worker = deployment.start(HF_ENDPOINT="http://192.0.2.1")  # nobody is there, and nobody says so (RFC 5737)
    until(lambda: "warning: store" in deployment.log())
    assert children(worker.pid)
    worker.terminate()
    assert worker.wait(timeout=20) == 128 + signal.SIGTERM
    assert "Traceback" not in deployment.log()


# As native code does that is being imported when the signal comes.
SWALLOWED = """
import os, signal
import worker.__main__ as program

class Boot:
    start = classmethod(lambda cls: cls())
    stop = lambda self: None

def ready(boot):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        while True:
            pass
    except SystemExit:
        raise ImportError("initialization failed")

program.Boot, program._ready = Boot, ready
program.main()
"""


def test_a_library_that_takes_the_end_for_an_error_does_not_change_the_code() -> None:
    done = subprocess.run([sys.executable, "-c", SWALLOWED], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGTERM, "", "")


@pytest.mark.timeout(120)
def test_a_worker_that_is_killed_leaves_no_process_behind(deployment: Deployment) -> None:
    worker = deployment.start()
    assert "error" not in deployment.run_job()
    until(lambda: bool(deployment.platform.jobs.pings))
    left = children(worker.pid)
    assert left, "the SDK's heartbeat is a process of its own"
    worker.kill()
    worker.wait(timeout=10)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left))


def children(pid: int) -> list[str]:
    """Of any of its threads."""
    return " ".join(file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/children")).split()


@pytest.mark.timeout(300)
def test_a_bucket_without_keys_is_a_worker_without_voices(deployment: Deployment) -> None:
    deployment.start(AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="", CAS_FALLBACK="hub")
    answer, none = deployment.run_jobs({}, {"return": "upload"})
    assert answer and "error" not in answer
    receipt = deployment.receipt()
    assert (receipt["ok"], receipt["source"], receipt["device"]) == (True, "hub", "cpu")
    assert {"early.device", "load", "warm-up", "fitness"} <= {phase["name"] for phase in receipt["phases"]}
    assert "warning: no voices and no uploads: no S3 credentials" in deployment.log()
    assert none is None
    assert "this worker has no bucket" in deployment.platform.jobs.all()[-1].error
