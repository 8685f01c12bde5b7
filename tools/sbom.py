"""Write the bill of materials of the worker's image, CycloneDX 1.6: `make sbom` writes build/sbom.cdx.json.

CycloneDX's own tool (cyclonedx-py, of requirements/sbom.lock, in an environment of its own) reads what is installed in
the worker's environment, which the steps of the Dockerfile make, too. Added here: the base image with its digest, the
lock files with theirs, licences as SPDX expressions; left out: pip and setuptools of that environment, as the image has
those of its base. The same lock files give the same bytes, so two makers of an image can compare what is in it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from cas.version import __version__
from tools import worker_env
from tools.image import named_base
from tools.third_party import Package, normalized, packages

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / ".venv/sbom"
"""Where `make` installs requirements/sbom.lock."""

# Reads a document from standard input, and prints what is wrong with it. Without the grammar of IRIs: it takes 2 s to
# load and 6 s for the URLs of 80 packages, which are those of the packages' own metadata.
_VALIDATE = """
import sys
sys.modules["rfc3987_syntax"] = None
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
print(JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read()) or "", end="")
"""


class BillError(Exception):
    """The bill of materials cannot be made, or is no valid one."""


def installed(python: Path) -> dict[str, Any]:
    """Return what CycloneDX's tool tells of an environment.

    Args:
        python: the environment's interpreter.

    Raises:
        BillError: the tool is not installed, or fails.
    """
    tool = ENVIRONMENT / "bin/cyclonedx-py"
    if not tool.exists():
        raise BillError(f"there is no {tool}: `make sbom` installs it")
    command = [str(tool), "environment", "--pyproject", str(ROOT / "pyproject.toml"), "--mc-type", "application"]
    command += ["--output-reproducible", "--spec-version", "1.6", "--output-format", "JSON", "--no-validate"]
    done = subprocess.run([*command, str(python)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BillError(f"cyclonedx-py failed with exit code {done.returncode}:\n{done.stderr}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def completed(told: dict[str, Any], found: list[Package]) -> dict[str, Any]:
    """Return the bill of materials of the image.

    Args:
        told: what `installed` returned.
        found: the packages of the lock files.

    Raises:
        BillError: a package of the lock files is missing in it.
    """
    licences = {normalized(package.name): package for package in found}
    components = [part for part in told["components"] if normalized(part["name"]) in licences]
    for part in components:
        package = licences.pop(normalized(part["name"]))
        part["licenses"] = [{"expression": package.licence, "acknowledgement": "declared"}]
    if licences:
        raise BillError(f"{', '.join(sorted(licences))}: in the lock files, and not installed")
    references = {part["bom-ref"] for part in components}
    product = told["metadata"]["component"]
    product["version"] = __version__
    base = _base()
    depends = [
        {**entry, "dependsOn": sorted(references & set(entry["dependsOn"]))} if "dependsOn" in entry else entry
        for entry in told["dependencies"]
        if entry["ref"] in references
    ]
    all_of_it = {"ref": product["bom-ref"], "dependsOn": sorted({*references, base["bom-ref"]})}
    locks = [Path(step[-1]) for step in worker_env.STEPS]
    told["metadata"]["properties"] = [
        *told["metadata"].get("properties", []),
        *({"name": f"model-cas:sha256:requirements/{lock.name}", "value": _sha256(lock)} for lock in locks),
    ]
    dependencies = sorted([*depends, all_of_it, {"ref": base["bom-ref"]}], key=lambda entry: str(entry["ref"]))
    return {**told, "components": [base, *components], "dependencies": dependencies}


def _base() -> dict[str, Any]:
    """Return the base image as a component."""
    image, _, digest = named_base().partition("@sha256:")
    name, _, tag = image.partition(":")
    return {
        "type": "container",
        "bom-ref": f"base:{name}",
        "name": name,
        "version": tag,
        "purl": f"pkg:docker/{name}@sha256%3A{digest}?tag={tag}",
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def validated(text: str) -> str:
    """Return a document that the schema of CycloneDX 1.6 allows, in which no name is unknown.

    Raises:
        BillError: it does not.
    """
    command = [str(ENVIRONMENT / "bin/python"), "-c", _VALIDATE]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode or done.stdout:
        raise BillError(f"no valid CycloneDX 1.6: {done.stdout}{done.stderr}")
    return text


def bill(python: Path) -> str:
    """Return the bill of materials of the image, as JSON.

    Args:
        python: the interpreter of the worker's environment.

    Raises:
        BillError: it cannot be made.
    """
    found = packages(worker_env.packages(python.parents[1]), worker_env.versions())
    return validated(json.dumps(completed(installed(python), found), indent=2) + "\n")


def main() -> int:
    """Write the bill of materials, and say where."""
    parser = argparse.ArgumentParser(prog="python -m tools.sbom", description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=ROOT / "build/sbom.cdx.json")
    options = parser.parse_args()
    try:
        text = bill(worker_env.python(worker_env.folder()))
    except (BillError, worker_env.EnvironmentMissing) as error:
        sys.exit(str(error))
    options.file.parent.mkdir(parents=True, exist_ok=True)
    options.file.write_text(text, "utf-8")
    print(f"{options.file}: {len(json.loads(text)['components'])} components")
    return 0


if __name__ == "__main__":
    sys.exit(main())
