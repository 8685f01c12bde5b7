"""The help of commands: groups, examples that can be called, `cas help`, and the words of other tools."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from cas.cli.commands import COMMANDS, GROUPS
from cas.cli.examples import EXAMPLES
from cas.cli.main import root
from cas.cli.options import Settings
from cas.cli.synonyms import ADVICE, SYNONYMS
from tests.cli.conftest import Shop
from tests.support.in_process import call_cas
from tests.support.terminals import cas_on_terminal

ROOT = Path(__file__).parents[2]


def parsed(words: list[str]) -> str:
    """Parse a call without running it, and return the command's name; fails as the command would."""
    context = root.make_context("cas", words, obj=Settings())
    name, command, rest = root.resolve_command(context, [*context._protected_args, *context.args])
    assert command is not None
    inner = command.make_context(name, rest, parent=context)
    if isinstance(command, click.Group):
        _, below, rest = command.resolve_command(inner, [*inner._protected_args, *inner.args])
        assert below is not None
        below.make_context("", rest, parent=inner)
    assert name is not None
    return name


def test_each_command_has_examples() -> None:
    assert EXAMPLES.keys() == COMMANDS.keys()
    assert max(len(line) for examples in EXAMPLES.values() for line in examples.lines) <= 76
    assert all(1 <= len(examples.lines) <= 5 for examples in EXAMPLES.values())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_are_shown_and_can_be_called(name: str) -> None:
    shown = call_cas(name, "--help", env={"COLUMNS": "80"}).stdout
    calls = []
    for line in EXAMPLES[name].lines:
        assert f"\n    {line}\n" in shown
        bare = line.removeprefix('eval "$(').removesuffix(')"').partition(" > ")[0]
        words = shlex.split(re.sub(r"^([A-Z_]+=\S+ )*", "", bare))
        assert words[0] == "cas"
        calls.append(parsed(words[1:]))
    assert name in calls, "an example of another command only goes with one of its own"
    learn = re.search(r"Learn more: (\S+?)(?:#(\S+))?\n", shown)
    assert learn
    text = (ROOT / learn[1]).read_text("utf-8")
    sections = [
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.+)$", text, re.M)
    ]
    assert learn[2] is None or learn[2] in sections


def test_help_of_a_command_is_its_help() -> None:
    for words in (["restore"], ["trust", "add"], []):
        asked = call_cas("help", *words)
        assert (asked.returncode, asked.stdout) == (0, call_cas(*words, "--help").stdout)
    assert call_cas("help", "pull").stdout == call_cas("help", "restore").stdout
    unknown = call_cas("help", "restroe")
    assert (unknown.returncode, "Did you mean 'restore'?" in unknown.stderr) == (2, True)
    assert "has no commands of its own" in call_cas("help", "ls", "m").stderr
    assert call_cas("version").stdout == call_cas("--version").stdout


@pytest.mark.parametrize("word", SYNONYMS)
def test_a_word_of_another_tool_is_the_command(word: str) -> None:
    assert word not in COMMANDS and SYNONYMS[word] in COMMANDS
    assert call_cas(word, "--help").stdout == call_cas(SYNONYMS[word], "--help").stdout


@pytest.mark.parametrize(
    ("words", "meant"),
    [("--verison", "'--version'"), ("restore --cachedir x", "'--cache-dir'"), ("restore --recipt", "'--receipt'")],
)
def test_a_typo_of_an_option_names_the_closest_first(words: str, meant: str) -> None:
    done = call_cas(*words.split())
    assert done.returncode == 2
    assert f"'{words.split()[-2 if words.endswith('x') else -1]}'. Did you mean {meant}" in done.stderr
    assert re.search(r"\? See `cas[a-z ]* --help`$", done.stderr.strip())


@pytest.mark.parametrize(("typo", "meant"), [("pul", "restore"), ("restor", "restore"), ("snapshot", "ls")])
def test_a_typo_of_a_word_of_another_tool_is_a_typo_of_the_command(typo: str, meant: str) -> None:
    done = call_cas(typo)
    assert (done.returncode, f"Did you mean '{meant}'" in done.stderr) == (2, True), done.stderr


def test_a_synonym_does_what_the_command_does(shop: Shop) -> None:
    assert shop.cas("images", "m").stdout == shop.cas("ls", "m").stdout
    assert shop.cas("pull", "m").returncode == 0
    assert any(shop.cache.iterdir())
    assert shop.cas("log", "m").stdout == shop.cas("history", "m").stdout


@pytest.mark.parametrize("word", ADVICE)
def test_a_word_that_may_mean_several_names_them(word: str) -> None:
    done = call_cas(word, "m", "--store", "/nowhere")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"cas: no such command '{word}': ")
    named = re.findall(r"`cas ([\w-]+)", ADVICE[word])
    assert set(named) <= COMMANDS.keys()


def test_words_of_other_tools_stand_in_no_list() -> None:
    shown = call_cas("--help").stdout
    listed = re.findall(r"^  ([a-z][a-z-]*)  ", shown, re.M)
    assert listed == [name for group in GROUPS.values() for name in group]
    assert not {*SYNONYMS, *ADVICE} & {*listed}
    assert set(root.list_commands(click.Context(root))) == {*listed}


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_help_fits_the_terminal(columns: int) -> None:
    for words in (["--help"], ["help", "restore"], ["gc", "--help"]):
        shown = cas_on_terminal(*words, columns=columns)
        assert (shown.code, shown.wrapped) == (0, False), words
    lines = cas_on_terminal("--help", columns=columns).lines
    assert [line.rstrip(":") for line in lines if line.rstrip(":") in GROUPS] == list(GROUPS)
