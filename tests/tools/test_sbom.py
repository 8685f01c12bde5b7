"""The bill of materials of the worker's image: valid, complete, and the same for who makes it again."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from cas.version import __version__
from tools import sbom, worker_env
from tools.third_party import Package, normalized


@pytest.fixture(scope="module")
def text(worker_python: Path) -> str:
    if not (sbom.ENVIRONMENT / "ready").exists():
        pytest.skip("CycloneDX's tool is not there: `make test` installs it")
    return sbom.bill(worker_python)


@pytest.fixture
def bill(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


def test_it_lists_what_the_lock_files_list_and_the_base(bill: dict[str, Any]) -> None:
    locked = {normalized(name): version for name, version in worker_env.versions().items()}
    base, *components = bill["components"]
    assert {normalized(part["name"]): part["version"] for part in components} == locked
    assert all(part["purl"].startswith("pkg:pypi/") for part in components)
    dockerfile = (sbom.ROOT / "Dockerfile").read_text()
    assert f"BASE=python:{base['version']}@sha256:{base['hashes'][0]['content']}\n" in dockerfile
    product = bill["metadata"]["component"]
    assert (product["name"], product["version"]) == ("model-cas", __version__)


def test_each_component_has_its_licence_and_is_reached(bill: dict[str, Any]) -> None:
    licences = {part["name"]: part["licenses"][0]["expression"] for part in bill["components"][1:]}
    assert licences["torch"] == "BSD-3-Clause" and licences["certifi"] == "MPL-2.0"
    assert licences["nvidia-cublas"] == "LicenseRef-NVIDIA-Proprietary"
    (whole,) = [entry for entry in bill["dependencies"] if entry["ref"] == bill["metadata"]["component"]["bom-ref"]]
    references = {part["bom-ref"] for part in bill["components"]}
    assert set(whole["dependsOn"]) == references
    assert all(set(entry.get("dependsOn", [])) <= references for entry in bill["dependencies"]), (
        "nothing that is left out"
    )


def test_it_names_the_lock_files_that_it_was_made_from(bill: dict[str, Any]) -> None:
    named = {entry["name"]: entry["value"] for entry in bill["metadata"]["properties"]}
    for name in ("torch", "worker", "f5"):
        lock = sbom.ROOT / f"requirements/{name}.lock"
        assert named[f"model-cas:sha256:requirements/{name}.lock"] == hashlib.sha256(lock.read_bytes()).hexdigest()


def test_nothing_in_it_tells_when_or_where_it_was_made(text: str, bill: dict[str, Any]) -> None:
    """So the same lock files give the same bytes."""
    assert "timestamp" not in bill["metadata"] and "serialNumber" not in bill
    assert str(Path.home()) not in text and "file://" not in text


def test_the_schema_is_looked_at(text: str) -> None:
    with pytest.raises(sbom.BillError, match="no valid CycloneDX"):
        sbom.validated(text.replace('"type": "container"', '"type": "crate"'))


def test_a_package_that_is_not_installed_is_an_error(bill: dict[str, Any]) -> None:
    told = {**copy.deepcopy(bill), "components": bill["components"][1:]}
    with pytest.raises(sbom.BillError, match="another-one"):
        sbom.completed(told, [Package("another_one", "1", "MIT", True)])
