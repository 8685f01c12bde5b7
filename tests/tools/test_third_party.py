"""THIRD-PARTY.md: it names the licence of everything in the worker's image, and of the models that it fetches."""

from __future__ import annotations

import email
import fnmatch
import re
import tomllib
from email.message import Message
from pathlib import Path

import pytest

from tools import worker_env
from tools.third_party import DOCUMENT, LicenceUnknown, document, licence, normalized, packages

ROOT = DOCUMENT.parent
TEXT = DOCUMENT.read_text("utf-8")


def metadata(*lines: str) -> Message:
    return email.message_from_string("\n".join(["Name: some", "Version: 1", *lines]) + "\n")


@pytest.fixture(scope="module")
def site(worker_python: Path) -> Path:
    """The packages of the worker's environment."""
    return worker_env.packages(worker_python.parents[1])


def test_the_table_names_each_package_of_the_image_with_its_licence(site: Path) -> None:
    found = packages(site, worker_env.versions())
    assert {normalized(package.name) for package in found} == {normalized(name) for name in worker_env.versions()}
    assert document(TEXT, found) == TEXT, "run `python -m tools.third_party` after `make lock`"


def test_packages_that_lack_a_text_are_given_one(site: Path) -> None:
    without = {package.name for package in packages(site, worker_env.versions()) if not package.has_text}
    (given,) = re.findall(r"^(.*) declare the MIT licence and come without its text", TEXT, re.MULTILINE)
    assert without == {*re.findall(r"([\w-]+) \((?:Copyright|by) ", given), "cuda-toolkit"}, (
        "cuda-toolkit consists of no file"
    )


def test_libraries_inside_of_packages_are_named(site: Path) -> None:
    rows = re.findall(r"^\| (`[^|]*\.so[^|]*) \|", TEXT, re.MULTILINE)
    patterns = [pattern for row in rows for pattern in re.findall(r"`([^`]+)`", row)]
    assert len(patterns) >= 5
    bundled = [*site.glob("*.libs/*"), *site.glob("_soundfile_data/*.so*"), *site.glob("torch/lib/libgomp*")]
    bundled.append(site / "torch/lib/libtorch_cpu.so")
    names = [path.relative_to(site).as_posix() for path in bundled]
    assert len(names) >= 5
    for name in names:
        assert any(fnmatch.fnmatch(name, pattern) for pattern in patterns), name
    for pattern in patterns:
        assert fnmatch.filter(names, pattern), f"{pattern} is nowhere"


def test_the_weights_of_every_built_in_source_have_a_licence_with_its_source() -> None:
    models = TEXT.partition("\n## Models\n")[2].partition("\n## ")[0]
    rows = {repo: row for row in models.splitlines() for repo in re.findall(r"^\| .*?\[([\w.-]+/[\w.-]+)\]", row)}
    sources = [tomllib.loads(path.read_text()) for path in (ROOT / "manifests/sources").glob("*.toml")]
    assert {repo["id"] for source in sources for repo in source.get("repo", [])} == rows.keys()
    for repo in ("SWivid/F5-TTS", "SWivid/E2-TTS"):
        assert "CC-BY-NC-4.0" in rows[repo] and "not for commercial use" in rows[repo]
    assert "| MIT |" in rows["charactr/vocos-mel-24khz"]
    assert all("model card" in row for row in rows.values())


def test_what_it_says_of_encodec_is_so(reference_python: Path, site: Path) -> None:
    (found,) = worker_env.packages(reference_python.parents[1]).glob("encodec-*.dist-info/METADATA")
    assert "NonCommercial 4.0" in email.message_from_bytes(found.read_bytes())["License"]
    assert "encodec" in (ROOT / "requirements/reference.lock").read_text()
    assert not list(site.glob("encodec*"))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["License-Expression: Apache-2.0 OR BSD-2-Clause", "License: what not"], "Apache-2.0 OR BSD-2-Clause"),
        (["License: MIT License", " ", " Copyright (c) somebody"], "MIT"),
        (["License: BSD", "Classifier: License :: OSI Approved :: MIT License"], "MIT"),
    ],
)
def test_the_clearest_word_counts(lines: list[str], expected: str) -> None:
    assert licence(metadata(*lines)) == expected


@pytest.mark.parametrize("lines", [[], ["License: BSD"], ["License-Expression: MIT AND CC-BY-NC-4.0"]])
def test_a_licence_that_is_not_known_here_is_an_error(lines: list[str]) -> None:
    with pytest.raises(LicenceUnknown, match="some declares"):
        licence(metadata(*lines))


def test_another_version_than_that_of_the_lock_files_is_an_error(site: Path) -> None:
    with pytest.raises(LookupError, match="six"):
        packages(site, {"six": "0.1"})
    with pytest.raises(LookupError, match="nowhere"):
        packages(site, {"nowhere": "1"})


def test_a_document_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no lines"):
        document("# Licences\n", [])
