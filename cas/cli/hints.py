"""Commands that messages propose, such as `cas ls m`, with the options of the caller's own call.

Messages name a command in backquotes and without global options: what raises them does not know how it was called.
What prints them passes them through `carry`, so that a proposed command can be pasted and means the same store.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cas.cli.options import Settings

_PROPOSED = r"`cas ([^`\n]+)`"  # compiled when a message has such a command
# The store does not change what these do, or they name it as an argument.
_WITHOUT_STORE = frozenset({"completion", "help", "keygen", "prune", "sources", "trust", "version"})
_VALUED = frozenset({"--store"})
_call: Settings | None = None


def remember(settings: Settings) -> None:
    """Keep the global options of this process's call, for `carry`. settings: they may still change."""
    global _call  # noqa: PLW0603 (a process of the command line makes one call)
    _call = settings


def carry(text: str) -> str:
    """Return a message whose proposed commands have the --store, --json and --cache-dir of the call.

    What the environment names is not added, as it holds for the next command, too. A command gets no option that it
    does not take or that stands in it already.
    """
    if _call is None or not (_call.store or _call.destination or _call.json or _call.cache_dir):
        return text
    call = _call
    return re.sub(_PROPOSED, lambda match: f"`cas {_with_options(match[1], text, call)}`", text)


def first_command(text: str) -> str | None:
    """Return the first command that a message proposes, without its backquotes; None if it proposes none."""
    found = re.search(_PROPOSED, text)
    return found and f"cas {found[1]}"


def _with_options(proposed: str, message: str, call: Settings) -> str:
    """Return the words behind `cas` with the options of the call that they lack."""
    import shlex

    words = proposed.split()
    at = _place_of_name(words)
    from cas.cli.commands import COMMANDS

    if at is None or words[at] not in COMMANDS or words[-1] == "--help":
        return proposed
    before = []
    if not _names_no_store(words[at], call) and "--store" not in words and (store := _store(message, call)):
        before.append(f"--store {shlex.quote(store)}")
    if call.json and "--json" not in words:
        before.append("--json")
    if call.cache_dir and "--cache-dir" not in words and _takes_cache_dir(words[at]):
        words.insert(at + 1, f"--cache-dir {shlex.quote(call.cache_dir)}")
    return " ".join([*before, *words])


def _place_of_name(words: list[str]) -> int | None:
    """Return where the name of the command stands among the words behind `cas`."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] in _VALUED else 1
    return at if at < len(words) else None


def _store(message: str, call: Settings) -> str | None:
    """Return the store that a message is about, as the call names it; None where nothing may be shown."""
    named, other = call.store, call.destination
    if other and other in message and not (named and named in message):
        named = other
    # Such a URL is refused, as it may hold a secret.
    return None if named and re.match(r"[^/]*://([^/]*@|.*[?#])", named) else named


def _names_no_store(name: str, call: Settings) -> bool:
    """Return whether a command means no store, or another one: what is in an archive is imported elsewhere."""
    return name in _WITHOUT_STORE or (name == "import" and os.path.isfile(call.store or ""))


def _takes_cache_dir(name: str) -> bool:
    """Return whether a command has the option --cache-dir."""
    import click

    from cas.cli.commands import Commands

    command = Commands().get_command(click.Context(click.Command("cas")), name)
    return command is not None and any("--cache-dir" in option.opts for option in command.params)
