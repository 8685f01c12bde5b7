"""`cas run`."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import click

from cas.cli.options import (
    Settings,
    cache_dir_option,
    chosen_version,
    common,
    lock_option,
    receipt_option,
    seed_option,
    verify_option,
)
from cas.cli.program import CommandNotExecutable, find_program, inherited_variables

if TYPE_CHECKING:
    from cas.ops.restore.restorer import Restored

_NO_REF = "\0"  # stands for an absent REF: no word of a command line can be this


class _Wrapper(click.Command):
    """Parses our options up to COMMAND, and leaves everything after it to the command.

    `--` ends our part. Without it, the first word is REF, unless --lock stands before it.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        valued = {name for option in self.params if not getattr(option, "is_flag", True) for name in option.opts}
        options: list[str] = []
        reference = _NO_REF
        at, locked = 0, False
        while at < len(args) and args[at] != "--":
            if args[at].startswith("-"):
                taken = args[at : at + (2 if args[at] in valued else 1)]
                locked |= taken[0].partition("=")[0] == "--lock"
                options += taken
                at += len(taken)
                if at == len(args) and taken[0] in valued and len(taken) == 1:
                    return super().parse_args(ctx, args)  # click reports that the option's value is missing
            elif locked or reference != _NO_REF:
                break
            else:
                reference = args[at]
                at += 1
        if ctx.resilient_parsing and at == len(args) and reference == _NO_REF and not locked:
            return super().parse_args(ctx, options)  # a shell asks what REF may be
        command = args[at + 1 :] if args[at : at + 1] == ["--"] else args[at:]
        return super().parse_args(ctx, [*options, "--", reference, *command])


@click.command(cls=_Wrapper, short_help="Restore, then run a command that finds the model.")
@click.argument("reference", metavar="[REF]")
@lock_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="[--] COMMAND [ARG]...")
@cache_dir_option
@seed_option
@verify_option
@receipt_option
@common
def run(
    settings: Settings,
    reference: str,
    lock: str | None,
    command: tuple[str, ...],
    cache_dir: str | None,
    seeds: tuple[str, ...],
    verify: bool,
    receipt: bool,
) -> None:
    """Restore REF, set HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE and their like, and become COMMAND.

    COMMAND finds REF in a view of the hub cache of its own: what other restores do to the cache does not change it,
    and `cas prune` leaves REF alone while COMMAND runs.

    Exit codes 127 and 126, as in a shell: COMMAND is not found, or cannot be executed. COMMAND gets all variables but
    the keys that sign (CAS_SIGNING_KEY, CAS_SIGNING_PASSPHRASE, CAS_ATTEST_KEY).

    `cas run -- COMMAND` takes the version that CAS_MODEL, CAS_LOCK or the pin of CAS_DEPLOYMENT names.
    """
    from cas import events
    from cas.cli.display.progress import reporter_for
    from cas.cli.restore import receipt_writer, restore_chosen
    from cas.config import cache_dirs, receipt_wanted
    from cas.ops.restore.in_use import restore_for_use
    from cas.store.later_phases import VARIABLE

    program = find_program(command[0])
    # Copied before the restore sets variables of its own, which the command must not inherit.
    inherited = inherited_variables()
    begun = time.monotonic()
    chosen = chosen_version(settings, None if reference == _NO_REF else reference, lock, cache_dir, keep=True)
    with receipt_writer(settings, chosen, begun, wanted=receipt or receipt_wanted()) as writer:

        def restore_once() -> Restored:
            done = restore_chosen(settings, chosen, cache_dir, seeds, verify=verify, receipt=writer)
            if writer:
                writer.listen(events.Phase("view"))
            return done

        reporter = reporter_for(settings)
        in_use = restore_for_use(restore_once, cache_dirs(cache_dir), reporter.listen)
    variables = {**in_use.variables, "CAS_MODEL": in_use.restored.reference}
    if writer and writer.target:
        variables[VARIABLE] = writer.target.text()
    in_use.hold.inherit()
    sys.stdout.flush()
    # Python ignores SIGPIPE, and the command would inherit that.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execve(program, command, {**inherited, **variables})  # noqa: S606 (the user's own command)
    except OSError as error:
        raise CommandNotExecutable.because(program, error) from error
