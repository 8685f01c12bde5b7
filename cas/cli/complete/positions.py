"""What each parameter of each command may be, for completion: found by its metavar, or by command and name."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import TypeAlias

import click
from click.shell_completion import CompletionItem

from cas.cli.complete import values

Values: TypeAlias = Callable[[click.Context, str], list[CompletionItem]]
"""Returns what a word that begins with the second argument may be."""

_BY_METAVAR: dict[str, Values] = {
    "REF": values.references,
    "REF2": values.references,
    "A": values.references,
    "B": values.references,
    "MODEL": values.models,
    "MODEL:TAG": values.tags_of_models,
    "[MODEL:]TAG": values.tags_of_models,
    "TAG": values.tags,
    "MODEL|DEPLOYMENT": values.models_and_deployments,
    "DEPLOYMENT": values.deployments,
    "DIGEST": values.digests,
    "NAME|FILE": values.sources,
    "DEST": values.stores,
    "FILE": values.files,
    "KEY": values.files,
    "DIR": values.folders,
}

_BY_NAME: dict[tuple[str, str], Values] = {
    ("", "store"): values.stores,
    ("", "model"): values.models,
    ("", "deployment"): values.deployments,
    ("ls", "model"): values.references,
    ("du", "model"): values.references,
    ("tree", "model"): values.references,
    ("tag", "tags"): values.tags_to_set,
    ("sources", "name"): values.source_names,
    ("import-flat", "source"): values.stores,
    ("mirror", "prefixes"): values.models,
    ("fsck", "scope"): values.references,
    ("fsck", "repair_from"): values.stores,
    ("keygen", "name"): values.files,
    ("receipts", "words"): values.receipts,
    ("help", "command"): values.commands,
    ("man", "commands"): values.commands,
    ("add", "name"): values.nothing,
    ("", "layout"): values.layouts,
    ("", "link"): values.links,
    ("", "command"): values.files,
    ("rm", "keys"): values.trusted_keys,
}

NOT_COMPLETED = {
    "by", "exclude", "fleet", "host", "include", "reason", "repo_id", "repos", "revision",
    "sample", "shard", "token", "upstream",
}  # fmt: skip
"""Parameters whose values are anybody's: texts, patterns, numbers, and addresses of other servers."""


def values_of(command: str, parameter: click.Parameter) -> Values | None:
    """Return what finds the values of a command's parameter; None for one whose type says it, or nothing does.

    Args:
        command: the command's own name, such as `add` for `cas trust add`.
        parameter: one of its parameters.
    """
    if not isinstance(parameter.type, click.types.StringParamType | click.types.UnprocessedParamType):
        return None
    name = parameter.name or ""
    metavar = (parameter.metavar or "").replace("...", "")
    if optional := re.fullmatch(r"\[([^]]*)\]", metavar):
        metavar = optional[1]
    return _BY_NAME.get((command, name)) or _BY_METAVAR.get(metavar) or _BY_NAME.get(("", name))


def with_completion(command: click.Command, name: str) -> click.Command:
    """Return a copy of a command whose parameters, and those of the commands below it, can say what a word may be.

    Args:
        command: the command.
        name: the command's own name.
    """
    copied = copy.copy(command)
    copied.params = [_completed(name, parameter) for parameter in command.params]
    if isinstance(copied, click.Group):
        copied.commands = {below: with_completion(each, below) for below, each in copied.commands.items()}
    return copied


def _completed(command: str, parameter: click.Parameter) -> click.Parameter:
    find = values_of(command, parameter)
    if find is None:
        return parameter
    copied = copy.copy(parameter)
    copied.type = _Completed(find)
    return copied


class _Completed(click.types.StringParamType):
    """The type of a text whose possible values can be found."""

    def __init__(self, find: Values) -> None:
        self._find = find

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return self._find(ctx, incomplete)
