"""The manual pages: what they say, and that the real `man` and `groff` print them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from cas.cli.main import root
from cas.cli.manual.pages import pages
from cas.cli.manual.roff import escaped, prose
from tests.support.in_process import call_cas
from tools import man

PAGES = pages(root)


def printed(command: list[str], **env: str) -> subprocess.CompletedProcess[str]:
    """Run a program, which must be installed, and return what it prints, in 80 columns of plain text."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    variables = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "MANWIDTH": "80", "MAN_KEEP_FORMATTING": "", **env}
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300, check=False)


def plain(text: str) -> str:
    """Text without bold and italics, and on one line."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m|.\x08", "", text).split())


def test_the_pages_are_current(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert man.main(["--check"]) == 0, capsys.readouterr().err
    assert man.main([], tmp_path / "pages") == 0
    (tmp_path / "pages/cas-gone.1").write_text("")
    (tmp_path / "pages/cas-ls.1").write_text("")
    assert man.main(["--check"], tmp_path / "pages") == 1
    assert [line.partition(".1")[0].rpartition("/")[2] for line in capsys.readouterr().err.splitlines()] == [
        "cas-gone",
        "cas-ls",
    ]
    assert man.main([], tmp_path / "pages") == 0
    assert man.main(["--check"], tmp_path / "pages") == 0


def test_every_option_of_every_command_is_on_its_page() -> None:
    ctx = click.Context(root, info_name="cas")
    for name in root.list_commands(ctx):
        command = root.get_command(ctx, name)
        assert command is not None
        text = PAGES[f"cas-{name}"]
        for option in (option for parameter in command.params for option in parameter.opts if option.startswith("-")):
            assert escaped(option) in text, f"{name} {option}"
        assert f"cas-{name}".replace("-", "\\-") in PAGES["cas"]


def test_groff_prints_them_without_a_warning(tmp_path: Path) -> None:
    files = sorted(man.FOLDER.glob("*.1"))
    done = printed(["groff", "-man", "-Tutf8", "-ww", "-k", *map(str, files)])
    assert (done.returncode, done.stderr) == (0, "")
    text = plain(done.stdout)
    assert "cas restore [OPTIONS] [REF]..." in text


def test_text_of_a_page_is_printed_as_it_is(tmp_path: Path) -> None:
    hostile = [".SH no section", "'so /etc/passwd", "a\\nb \\fBc", "-x --long `tick", 'ä € 漢 … "quoted"', "\\"]
    page = tmp_path / "x.1"
    page.write_text("\n".join(['.TH X 1 "" "" ""', *(f".PP\n{prose(each)}" for each in hostile)]) + "\n", "ascii")
    done = printed(["groff", "-man", "-Tutf8", "-ww", str(page)])
    assert (done.returncode, done.stderr) == (0, "")
    for each in hostile:
        assert plain(each) in plain(done.stdout)


def test_man_finds_the_pages_beside_the_program(tmp_path: Path) -> None:
    shutil.copytree(man.FOLDER, tmp_path / "share/man/man1")
    (tmp_path / "bin").mkdir()
    done = printed(["man", "-P", "cat", "cas-restore"], PATH=f"{tmp_path}/bin:{os.environ['PATH']}")
    if "has been minimized" in done.stdout:
        pytest.skip("this system leaves out the manual")
    assert (done.returncode, done.stderr) == (0, "")
    assert "cas-restore - Put versions into the Hugging Face cache" in plain(done.stdout)


def test_the_command_shows_a_page_and_without_man_the_help(capfd: pytest.CaptureFixture[str]) -> None:
    if shutil.which("man"):
        assert call_cas("man", "trust", "add", env={"MANPAGER": "cat"}).returncode == 0
        assert "CAS-TRUST-ADD(1)" in plain(capfd.readouterr().out)
    done = call_cas("man", "trust", "add", env={"PATH": "/nowhere"})
    assert done.stdout.startswith("Usage: cas trust add")
    assert "cas-ls" in call_cas("--json", "man", "ls").stdout
    wrong = call_cas("man", "nothing")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "there is no command `cas nothing`" in wrong.stderr


def test_all_pages_are_written_into_a_folder(tmp_path: Path) -> None:
    done = call_cas("man", "-o", str(tmp_path / "man1"))
    assert (done.returncode, done.stderr) == (0, f"wrote {len(PAGES)} pages to {tmp_path / 'man1'}\n")
    assert {path.stem: path.read_text() for path in (tmp_path / "man1").iterdir()} == PAGES
    assert call_cas("man", "ls", "-o", str(tmp_path)).returncode == 2
