"""The documents are true: the commands they show run, in the order shown, and what they link to exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cas.cli.main import root as command_line

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")])


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub and the documentation site make them."""
    prose = re.sub(r"^```.*?^```", "", document.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", document.read_text("utf-8")):
        if not target.startswith("http"):
            there = document.parent / target if target else document
            assert there.exists(), target
            assert not anchor or anchor in anchors(there), f"{target}#{anchor}"


def test_pages_for_operators_are_listed_and_fit_a_screen() -> None:
    folder = ROOT / "docs/operations"
    index = (folder / "README.md").read_text("utf-8")
    pages = {path.name: path.read_text("utf-8") for path in folder.glob("*.md")}
    assert {name for name in pages if f"]({name})" not in index} == {"README.md"}
    for name, text in pages.items():
        prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        long = [line for line in prose.splitlines() if len(line) > 100 and not line.startswith(("|", "<!--"))]
        assert long == [], name


def test_files_and_targets_named_in_documents_exist() -> None:
    text = "".join(document.read_text() for document in DOCUMENTS)
    for path in set(re.findall(r"`((?:cas|tools|tests|manifests|docs|worker|examples)/[\w./-]+\w/?)`", text)):
        assert (ROOT / path).exists(), path
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`make ([\w-]+)", text)):
        assert f"\n{target}:" in makefile, target


def test_every_command_shown_anywhere_exists() -> None:
    known = set(command_line.commands) | set(command_line.list_commands(None))  # type: ignore[arg-type]
    for document in DOCUMENTS:
        for command in re.findall(r"`cas (?:--store \S+ |--?[\w-]+ )*([a-z][\w-]*)", document.read_text()):
            assert command in known, f"{document.name} shows `cas {command}`"


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    build = "import sys, hatchling.build; print(hatchling.build.build_wheel(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("model_cas-*.whl")
    listed = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", str(wheel)], capture_output=True, text=True, check=True
    )
    names = [line.split()[0] for line in listed.stdout.splitlines()[1:]]
    assert "cas/py.typed" in names
    sources = {f"cas/hub/sources/{path.name}" for path in (ROOT / "manifests/sources").iterdir()}
    assert sources <= set(names) and "cas/hub/sources/f5-tts.toml" in sources
    assert {name.split("/")[0].split("-")[0] for name in names} == {"cas", "model_cas"}
