"""The documents are true: the commands they show run, in the order shown, and what they link to exists."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cas.cli.main import root as command_line
from tests.support.models import write_tree
from tools.models.minilm import model_dir
from tools.servers.hub import Hub

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
SOME_DIGEST = "1f3a9c04"

_SERVE = """
import huggingface_hub, os
assert os.environ["HF_HUB_OFFLINE"] == "1"
print("serving", huggingface_hub.hf_hub_download("SWivid/F5-TTS", "F5TTS_v1_Base/vocab.txt"))
"""


def shell_lines(document: Path, command: str) -> list[str]:
    """Lines of the document's sh blocks that call `command`, without their comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)
    lines = (line.split("  #")[0].strip() for block in blocks for line in block.splitlines())
    return [line for line in lines if re.search(rf"(^|\(|^[A-Z_]+=\S+ ){command}\b", line)]


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like the reader's: the repository's manifests, some weights, a script; and `cas` on the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    shutil.copytree(ROOT / "manifests", tmp_path / "manifests")
    write_tree(tmp_path / "weights", {"model.safetensors": b"\2" + bytes(7) + b"{}", "config.json": b"{}"})
    (tmp_path / "serve.py").write_text(_SERVE)
    hub = tmp_path / "hub"
    write_tree(hub / "SWivid/F5-TTS/F5TTS_v1_Base", {"model_1250000.safetensors": b"w" * 5000, "vocab.txt": b"a\n"})
    write_tree(hub / "charactr/vocos-mel-24khz", {"config.yaml": b"a: 1\n", "pytorch_model.bin": b"v" * 5000})
    shutil.copytree(model_dir(), hub / "sentence-transformers/all-MiniLM-L6-v2")
    return tmp_path


def in_the_workshop(line: str, workshop: Path) -> str:
    """A line with folders of the workshop in place of the reader's folder and second bucket."""
    for there, here in (("/tmp/models", "models"), ("s3://second@models-eu", "second")):
        line = line.replace(there, str(workshop / here))
    return line


def test_the_readme_can_be_followed_line_by_line(workshop: Path) -> None:
    digest = ""
    lines = shell_lines(ROOT / "README.md", "cas")
    assert len(lines) >= 11, "the README shows every common task"
    with Hub(workshop / "hub") as hub:
        for line in lines:
            ran = subprocess.run(
                ["sh", "-ec", in_the_workshop(line.replace(SOME_DIGEST, digest), workshop)],
                env={**os.environ, "HF_ENDPOINT": hub.url},
                capture_output=True,
                text=True,
                check=False,
            )
            assert ran.returncode == 0, f"{line}\n{ran.stderr}"
            if line.startswith("cas publish f5-tts"):
                digest = ran.stdout.split("blake3:")[1][:8]
            if "serve.py" in line:
                assert ran.stdout.startswith("serving ")


def test_the_readmes_python_runs(workshop: Path) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    ran = subprocess.run(
        [sys.executable, "-c", block.replace("s3://my-models/cas", str(workshop / "store"))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert Path(ran.stdout.splitlines()[-1]).is_dir()


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
        long = [line for line in prose.splitlines() if len(line) > 100 and not line.startswith("|")]
        assert long == [], name


def test_files_and_targets_named_in_documents_exist() -> None:
    text = "".join(document.read_text() for document in DOCUMENTS)
    for path in set(re.findall(r"`((?:cas|tools|tests|manifests|docs|worker)/[\w./-]+\w/?)`", text)):
        assert (ROOT / path).exists(), path
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`make ([\w-]+)", text)):
        assert f"\n{target}:" in makefile, target


def test_every_command_shown_anywhere_exists() -> None:
    known = set(command_line.commands) | set(command_line.list_commands(None))  # type: ignore[arg-type]
    for document in DOCUMENTS:
        for command in re.findall(r"`cas (?:--?[\w-]+ )*([a-z][\w-]*)", document.read_text()):
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
