"""What RunPod's Hub reads of this repository: `.runpod/`."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

from worker.boot.settings import Settings

ROOT = Path(__file__).parent.parent.parent

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
    assert set(config) - set(required) == {"gpuIds", "allowedCudaVersions", "env", "presets"}
    assert set(config["gpuIds"].split(",")) <= _POOLS
    common = {"name", "type", "description", "default"}
    of_type = {"string": set(), "boolean": {"trueValue", "falseValue"}, "number": {"min", "max"}}
    values: dict[str, type] = {}
    for variable in config["env"]:
        assert set(variable) == {"key", "input"}
        given = variable["input"]
        assert common <= set(given) <= common | {"advanced"} | of_type[given["type"]]
        assert of_type[given["type"]] <= set(given)
        values[variable["key"]] = {"string": str, "boolean": bool, "number": int}[given["type"]]
        assert type(given["default"]) is values[variable["key"]]
    assert {"S3_BUCKET", "CAS_MODEL", "CAS_STREAM", "RUNPOD_INIT_TIMEOUT"} <= values.keys()
    assert len(config["presets"]) > 1
    for preset in config["presets"]:
        assert set(preset) == {"name", "defaults"} and preset["name"]
        assert {name: type(value) for name, value in preset["defaults"].items()}.items() <= values.items()
    for test in tests["tests"]:
        assert set(test) == {"name", "input", "timeout"} and isinstance(test["timeout"], int)
    assert set(tests["config"]) == {"gpuTypeId", "gpuCount", "allowedCudaVersions", "env"}
    assert all(set(variable) == {"key", "value"} for variable in tests["config"]["env"])
    # A machine where the tests do not run is one where the workers would not.
    assert config["allowedCudaVersions"] == tests["config"]["allowedCudaVersions"]


def test_only_machines_whose_driver_knows_torchs_cuda_are_asked_for() -> None:
    cuda = re.search(r"^cuda-toolkit==(\d+)\.(\d+)", (ROOT / "requirements/torch.lock").read_text(), re.MULTILINE)
    assert cuda
    major, minor = (int(part) for part in cuda.groups())
    named = json.loads((ROOT / ".runpod/hub.json").read_text())["config"]["allowedCudaVersions"]
    versions = sorted([int(part) for part in version.split(".")] for version in named)
    # RunPod compares for equality: a machine whose driver is newer has to be named, too. None between is left out.
    assert versions == [[major, number] for number in range(minor, minor + len(versions))]
    assert len(versions) > 1


def test_every_value_that_the_hub_offers_is_one_that_the_worker_takes() -> None:
    config = json.loads((ROOT / ".runpod/hub.json").read_text())["config"]
    inputs = {variable["key"]: variable["input"] for variable in config["env"]}

    def text(name: str, value: object) -> str:
        return str(inputs[name]["trueValue" if value else "falseValue"] if isinstance(value, bool) else value)

    for defaults in [
        {name: given["default"] for name, given in inputs.items()},
        *(p["defaults"] for p in config["presets"]),
    ]:
        read = Settings.read({name: text(name, value) for name, value in defaults.items()})
        assert read.model == "f5-tts" and read.stream is bool(defaults["CAS_STREAM"])


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


def test_nothing_but_the_worker_brings_a_model_to_or_from_a_volume() -> None:
    assert re.search(r"^ENV .*\bRUNPOD_VOLUME_CACHE=0\b", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
