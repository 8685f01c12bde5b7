"""The commands in their groups, as `cas --help` lists them, and the group that imports the module of the one called.

So `cas` starts in a few tens of milliseconds, and a new command is a line of the table here.
"""

from __future__ import annotations

import importlib
from typing import NamedTuple

import click

from cas.cli.examples import epilog
from cas.errors import InputError


class Entry(NamedTuple):
    """A command in the table.

    Attributes:
        where: its module and function, as `module:function`.
        line: what it does, in a line for the list of commands.
    """

    where: str
    line: str


# A module has the command's name; `tag` also holds untag, `pin` also holds pins and unpin, and `help` version.
GROUPS = {
    "Start": {
        "init": Entry("cas.cli.init:init", "Make a store, or find that it is there."),
        "doctor": Entry("cas.cli.doctor:doctor", "Check the store, your key and this machine."),
        "info": Entry("cas.cli.info:info", "Show each setting, where it comes from and what it decides."),
        "help": Entry("cas.cli.help:help_", "Show the help of a command."),
        "version": Entry("cas.cli.help:version", "Show the version of this program."),
        "completion": Entry("cas.cli.completion:completion", "Complete commands, models and tags in your shell."),
        "man": Entry("cas.cli.man:man", "Show the manual page of a command."),
    },
    "Publish": {
        "publish": Entry("cas.cli.publish:publish", "Publish a model from Hugging Face or a folder."),
        "sources": Entry("cas.cli.sources:sources", "List the sources that --source takes by name."),
        "derive": Entry("cas.cli.derive:derive", "Publish a variant: the same model, cast to float16."),
        "import-flat": Entry("cas.cli.import_flat:import_flat", "Publish what a plain sync left in a bucket."),
    },
    "Restore": {
        "restore": Entry("cas.cli.restore:restore", "Put versions into the Hugging Face cache, or a folder."),
        "run": Entry("cas.cli.run:run", "Restore, then run a command that finds the model."),
        "env": Entry("cas.cli.env:env", "Print the export lines under which clients find a model."),
        "serve": Entry("cas.cli.serve:serve", "Serve the store as a hub, for HF_ENDPOINT."),
        "verify": Entry("cas.cli.verify:verify", "Re-hash a model on this machine."),
        "prune": Entry("cas.cli.prune:prune", "Free what restores put on this machine."),
    },
    "Look": {
        "ls": Entry("cas.cli.ls:ls", "List models, or the versions of one."),
        "show": Entry("cas.cli.show:show", "Show what a version consists of."),
        "tree": Entry("cas.cli.tree:tree", "Show which version came from which."),
        "diff": Entry("cas.cli.diff:diff", "Show what differs between two versions."),
        "du": Entry("cas.cli.du:du", "Show what versions take up, share and would free."),
        "receipts": Entry("cas.cli.receipts:receipts", "List what started where and how fast, or draw one start."),
        "report": Entry("cas.cli.report:report", "Write one page about every start, and what to fix."),
    },
    "Name versions": {
        "tag": Entry("cas.cli.tag:tag", "Give a version tags."),
        "untag": Entry("cas.cli.tag:untag", "Remove tags."),
        "pin": Entry("cas.cli.pin:pin", "Pin the version that a deployment restores."),
        "pins": Entry("cas.cli.pin:pins", "List what deployments have pinned."),
        "unpin": Entry("cas.cli.pin:unpin", "Remove a deployment's pin."),
        "history": Entry("cas.cli.history:history", "Show what a tag or pin named, and who moved it."),
        "rollback": Entry("cas.cli.rollback:rollback", "Move a tag or pin back to an earlier version."),
        "lock": Entry("cas.cli.lock:lock", "Write a version's manifest to a file to restore by."),
    },
    "Copy between stores": {
        "copy": Entry("cas.cli.copy:copy", "Copy versions to another store."),
        "mirror": Entry("cas.cli.mirror:mirror", "Keep models in another store equal to those here."),
        "export": Entry("cas.cli.export:export", "Write versions to one file, an archive."),
        "import": Entry("cas.cli.import_archive:import_archive", "Bring the versions in an archive into the store."),
    },
    "Care for the store": {
        "fsck": Entry("cas.cli.fsck:fsck", "Re-hash what the store holds, and repair it."),
        "gc": Entry("cas.cli.gc:gc", "Free what nothing uses."),
    },
    "Sign and audit": {
        "keygen": Entry("cas.cli.keygen:keygen", "Make a key that signs what tags and pins name."),
        "trust": Entry("cas.cli.trust:trust", "Choose whose signatures count here."),
        "sign": Entry("cas.cli.sign:sign", "Sign what tags and pins name now."),
        "attest": Entry("cas.cli.attest:attest", "State what a version's files are, for model-signing."),
        "audit": Entry("cas.cli.audit:audit", "Say who released what, and what is not signed."),
    },
}

COMMANDS = {name: entry for group in GROUPS.values() for name, entry in group.items()}


class Commands(click.Group):
    """The group of all commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, function = COMMANDS[name].where.partition(":")
        command: click.Command = getattr(importlib.import_module(module), function)
        command.epilog = epilog(name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            args = [_meant(ctx, name), *args[1:]]
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, COMMANDS))
        for title, group in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), entry.line) for name, entry in group.items()])


def _meant(ctx: click.Context, word: str) -> str:
    """Return the command that another tool's word stands for; end the call with what was likely meant instead."""
    from difflib import get_close_matches

    from cas.cli.synonyms import ADVICE, SYNONYMS

    if word in SYNONYMS:
        return SYNONYMS[word]
    if word in ADVICE:
        raise InputError(f"no such command {word!a}: {ADVICE[word]}")
    # `pul` is `pull`, and so `restore`; a command that two words are close to is named once.
    found = dict.fromkeys(SYNONYMS.get(known, known) for known in get_close_matches(word, [*COMMANDS, *SYNONYMS]))
    close = " or ".join(f"'{known}'" for known in found)
    text = f"No such command '{word}'"
    raise click.UsageError(f"{text}. Did you mean {close}?" if close else text, ctx)
