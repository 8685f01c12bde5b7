"""The pages of the documentation site: each link leads to a page, each command and public name has its place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import cas
from cas.cli.main import root
from tools import site_source

CONFIG = (site_source.ROOT / "docs/site/mkdocs.yml").read_text("utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site") / "source"
    site_source.collect(out)
    return out


def test_links_between_pages_hold(site: Path) -> None:
    for page in site.rglob("*.md"):
        prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)", prose):
            assert target.startswith(("http", "mailto:")) or (page.parent / target).is_file(), f"{page}: {target}"


def test_every_command_and_every_public_name_is_in_the_reference(site: Path) -> None:
    index = (site / "commands/index.md").read_text("utf-8")
    for name in root.list_commands(None):  # type: ignore[arg-type]
        assert f"({name}.md)" in index and (site / f"commands/{name}.md").read_text("utf-8").startswith(f"# cas {name}")
    named = set(re.findall(r"^::: cas\.(\w+)$", (site / "python.md").read_text("utf-8"), re.MULTILINE))
    assert named == {name for name in cas.__all__ if not name.startswith("_")}


def test_the_menu_names_every_page_but_those_that_lists_name(site: Path) -> None:
    config = yaml.safe_load(re.sub(r"!!python\S+", "", CONFIG))
    menu = set(re.findall(r"[\w/-]+\.md", str(config["nav"])))
    pages = {page.relative_to(site).as_posix() for page in site.rglob("*.md")}
    assert menu <= pages
    assert {page for page in pages - menu if not page.startswith(("commands/", "decisions/"))} == set()


def test_a_link_to_what_is_no_page_loses_its_target() -> None:
    targets = {"docs/a.md": "a.md", "README.md": "index.md"}
    text = "[one](../README.md#x) [two](../tools/x.py) `[three](../tools/x.py)` [`four`](../LICENSE) ![p](p.svg)"
    expected = "[one](index.md#x) two `[three](../tools/x.py)` `four` ![p](p.svg)"
    assert site_source.rewritten(text, "docs/a.md", targets) == expected
