"""Collect the pages of the documentation site in build/site-source: `python -m tools.site_source`.

The documents of the repository become pages as they are; links between them are rewritten, and links to files that are
no pages lose their target. The reference of the commands is made from the commands themselves, and that of the Python
package is left to mkdocstrings, which reads the docstrings. `make docs` builds the site from this folder.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import cas
from tools.command_pages import command_pages

ROOT = Path(__file__).parents[1]
OUT = ROOT / "build" / "site-source"

_ELSEWHERE = {
    "README.md": "index.md",
    "worker/README.md": "worker.md",
    "examples/README.md": "examples.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
    "CHANGELOG.md": "changelog.md",
    "THIRD-PARTY.md": "third-party.md",
}
"""Documents outside docs/, and the page that each becomes."""

_FOLDERS = {
    "docs/guides": "guides/README.md",
    "docs/decisions": "decisions/index.md",
    "docs/operations": "operations/README.md",
}
"""Folders that documents link to, and the page that lists what is in each."""

_COPIED = (".json", ".png", ".svg")
"""Files below docs/ that go to the site as they are."""

_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#\s]*)(#[^)\s]*)?\)")


def pages() -> dict[str, str]:
    """Return the page of each document of the repository, by the document's path."""
    found = {path.relative_to(ROOT).as_posix(): path for path in sorted((ROOT / "docs").rglob("*.md"))}
    return {**{name: name.removeprefix("docs/") for name in found}, **_ELSEWHERE}


def rewritten(text: str, document: str, targets: Mapping[str, str]) -> str:
    """Return a document's text with links that hold on the site.

    Args:
        text: the document's Markdown.
        document: the document's path in the repository.
        targets: the page of each document and folder, by its path in the repository.
    """
    page = targets[document]

    def link(match: re.Match[str]) -> str:
        image, label, target, anchor = match[1], match[2], match[3], match[4] or ""
        if not target or target.startswith(("http:", "https:", "mailto:")):
            return match[0]
        label = _LINK.sub(link, label)
        there = os.path.normpath(f"{os.path.dirname(document)}/{target}".lstrip("/"))
        if there.startswith("docs/") and there.endswith(_COPIED):
            to = there.removeprefix("docs/")
        elif there in targets:
            to = targets[there]
        else:
            return label  # a file of the repository that is no page
        return f"{image}[{label}]({os.path.relpath(to, os.path.dirname(page) or '.')}{anchor})"

    parts = re.split(r"(^```.*?^```|``[^\n]*?``|`[^`\n]*`(?!\]))", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("`") else _LINK.sub(link, part) for part in parts)


def decisions() -> str:
    """Return the page that lists the decisions."""
    lines = []
    for path in sorted((ROOT / "docs/decisions").glob("*.md")):
        title = path.read_text("utf-8").partition("\n")[0].removeprefix("# ")
        lines.append(f"- [{title}]({path.name})")
    return "\n".join(["# Decisions", "", "Why it is as it is: problem, choice, alternatives, cost.", "", *lines, ""])


def python_page() -> str:
    """Return the reference of the package `cas`: what mkdocstrings is to write there, name by name."""
    names = sorted(
        (name for name in cas.__all__ if not name.startswith("_")), key=lambda name: (name[0].isupper(), name)
    )
    return "# Python\n\nEverything below is a name of the package `cas`.\n\n" + "".join(
        f"::: cas.{name}\n\n" for name in names
    )


def collect(out: Path = OUT) -> None:
    """Write all pages and pictures into a folder, in place of what is there."""
    shutil.rmtree(out, ignore_errors=True)
    by_document = pages()
    targets = {**by_document, **_FOLDERS}
    texts = {
        page: rewritten((ROOT / document).read_text("utf-8"), document, targets)
        for document, page in by_document.items()
    }
    texts |= {"decisions/index.md": decisions(), "python.md": python_page(), **command_pages()}
    for page, text in texts.items():
        (out / page).parent.mkdir(parents=True, exist_ok=True)
        (out / page).write_text(text, encoding="utf-8")
    for file in (ROOT / "docs").rglob("*"):
        if file.suffix in _COPIED:
            shutil.copyfile(file, out / file.relative_to(ROOT / "docs"))


if __name__ == "__main__":
    collect()
