"""Python has what the command line has: a function for each command, and a keyword for each of its options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import click
import pytest

import cas
from cas.cli.main import root

OTHER_NAMES = {
    "import": "import_archive",
    "import-flat": "import_flat",
    "ls": "versions",
}
"""Command -> the function's name, where it is another one."""

NO_FUNCTION = {
    "completion": "belongs to a shell",
    "help": "belongs to a terminal: Python has docstrings",
    "keygen": "a person makes a key, once",
    "man": "belongs to a terminal: Python has docstrings",
    "run": "becomes the command: Python has `cas.view` and `subprocess`",
    "trust": "a person says once whom this user trusts: a program must not",
    "version": "`cas.__version__`",
}

ELSEWHERE = {
    ("derive", "check"): "`cas.prove`",
    ("fsck", "fleet"): "`cas.fsck_by_fleet`",
    ("fsck", "shards"): "`cas.fsck_by_fleet`",
    ("fsck", "merge"): "`cas.merge_fsck`",
    ("gc", "explain"): "`cas.explain`",
    ("gc", "force"): "asks a person once more: a program has decided",
    ("publish", "source"): "`cas.Source.from_file`",
    ("publish", "repos"): "`cas.Source.from_repos`",
    ("publish", "folder"): "`cas.Source.from_folder`",
    ("publish", "repo_id"): "`cas.Source.from_folder`",
    ("publish", "include"): "of `cas.Source`",
    ("publish", "exclude"): "of `cas.Source`",
    ("receipts", "words"): "`reference`; `cas.receipt` returns one",
    ("restore", "layout"): "`cas.Folder`",
    ("restore", "link"): "`cas.Folder`",
    ("restore", "delete"): "`cas.Folder`",
    ("serve", "command"): "`subprocess`, with the variable HF_ENDPOINT",
    ("sources", "name"): "each source of the list has its name",
}
"""What another function, or an argument's type, is for."""

SINGULAR = {"references": "reference"}
"""Arguments of a command that a function takes by a name of the same meaning: one or several."""


def commands() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(root)
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        assert command is not None
        yield name, command


def of_every_command() -> set[str | None]:
    """Options of the command line itself: a function takes `store`, and shows nothing unless it is told who listens."""
    return set.intersection(*({param.name for param in command.params} for _, command in commands()))


def function_of(name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(cas, OTHER_NAMES.get(name, name))
    return found


def keywords(name: str, option: str) -> set[str]:
    """The keywords, of which a function has one, for an option of a command."""
    words = {option, SINGULAR.get(option, option)}
    return words | {option.removeprefix("no_")}


def test_each_command_is_a_function() -> None:
    absent = [
        name for name, _ in commands() if name not in NO_FUNCTION and not hasattr(cas, OTHER_NAMES.get(name, name))
    ]
    assert absent == []


@pytest.mark.parametrize("name", [name for name, _ in commands() if name not in NO_FUNCTION])
def test_each_option_is_a_keyword(name: str) -> None:
    command = dict(commands())[name]
    taken = set(inspect.signature(function_of(name)).parameters)
    options = [param.name for param in command.params if param.name and param.name not in of_every_command()]
    missing = [
        option
        for option in options
        if not keywords(name, option) & taken
        and option not in ("lock", "sign_with")  # `cas.read_lock`, `cas.open_store(…, sign_with=…)`
        and (name, option) not in ELSEWHERE
    ]
    assert missing == []


def test_no_exception_is_out_of_date() -> None:
    known = {name: {param.name for param in command.params} for name, command in commands()}
    gone = [pair for pair in ELSEWHERE if pair[1] not in known.get(pair[0], ())]
    assert gone == []


@pytest.mark.parametrize("name", sorted(set(vars(cas.Store)) & set(cas.__all__)))
def test_a_method_of_a_store_takes_what_its_function_takes(name: str) -> None:
    function = inspect.signature(getattr(cas, name)).parameters
    method = inspect.signature(getattr(cas.Store, name)).parameters
    wanted = {
        each: (it.kind, it.default) for each, it in function.items() if each not in ("store", "limits", "on_finding")
    }
    given = {each: (it.kind, it.default) for each, it in method.items() if each not in ("self", "on_finding")}
    assert given == wanted


def test_a_store_has_a_method_for_whatever_concerns_it_alone() -> None:
    wanted = "versions tags pins history tree resolve show diff du tag untag pin unpin rollback sign lock fsck gc audit"
    assert set(wanted.split()) <= set(vars(cas.Store))


def test_each_public_name_exists_and_is_listed() -> None:
    assert set(cas.__all__) == {*cas._PLACES, "__version__"}
    assert {name for name in dir(cas) if not name.startswith("__")} == set(cas.__all__) - {"__version__"}
    for name in cas.__all__:
        assert getattr(cas, name) is not None


@pytest.mark.parametrize("name", [name for name in cas.__all__ if name != "__version__"])
def test_each_public_name_has_a_docstring(name: str) -> None:
    found = getattr(cas, name)
    if inspect.isfunction(found) or inspect.isclass(found):
        assert (found.__doc__ or "").strip().endswith((".", ":", ")"))
