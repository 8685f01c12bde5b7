"""What an index of packages shows: the README without links that lead nowhere, and the project's addresses."""

from __future__ import annotations

import re
import tarfile
from io import StringIO
from pathlib import Path

import pytest

from hatch_build import for_the_index
from tools import dist
from tools.dist import ROOT

README = (ROOT / "README.md").read_text("utf-8")
HOME = "https://github.com/somebody/model-cas"
LINKS = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("home", [HOME, ""])
def test_every_link_of_the_readme_is_absolute(home: str) -> None:
    text = for_the_index(README, home, "v1.2.3")
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    targets = LINKS.findall(prose)
    assert targets and all(target.startswith("https://") for target in targets)
    assert ("![" in prose) == bool(home), "pictures are shown where they can be had"
    for target in targets:
        if target.startswith(HOME):
            path = target.removeprefix(HOME).split("/", 3)[3].partition("#")[0]
            assert (ROOT / path).exists(), target
    assert text.count("```console") == README.count("```console")


def test_the_readme_renders_on_the_index() -> None:
    markdown = pytest.importorskip("readme_renderer.markdown", reason="readme-renderer[md] is not installed")
    warnings = StringIO()
    html = markdown.render(for_the_index(README, HOME, "v1.2.3"), stream=warnings)
    assert html and not warnings.getvalue()
    assert html.count("<img") == README.count("\n![") and "<table" in html


def test_archives_have_the_projects_addresses_where_it_has_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    monkeypatch.setenv("PROJECT_URL", f"{HOME}/")
    assert f"Project-URL: Homepage, {HOME}\n" in _metadata(tmp_path / "one")
    monkeypatch.delenv("PROJECT_URL")
    bare = _metadata(tmp_path / "two")
    assert "Project-URL: " not in bare and "# model-cas" in bare


def _metadata(folder: Path) -> str:
    files = dist.build(ROOT, folder, 1_700_000_000)
    (archive,) = (folder / name for name in files if name.endswith(".tar.gz"))
    with tarfile.open(archive) as tar:
        (member,) = (member for member in tar.getmembers() if member.name.endswith("/PKG-INFO"))
        read = tar.extractfile(member)
        assert read
        return read.read().decode()
