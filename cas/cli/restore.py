"""`cas restore`, `cas run` and `cas env`."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import shutil
import signal
import sys
from typing import TYPE_CHECKING

import click

from cas.cli import output
from cas.cli.chosen import chosen_version, lock_option
from cas.cli.options import Settings, common
from cas.errors import InputError

if TYPE_CHECKING:
    from cas.ops.restore.restorer import Restored
    from cas.refs.selection import Choice

_cache_dir = click.option("--cache-dir", metavar="DIR", help="The hub cache. Default: HF_HUB_CACHE.")
_seed = click.option(
    "--seed",
    "seeds",
    multiple=True,
    metavar="DIR",
    help="Take from here what it holds: another cache, or any folder of weights. Repeatable. Also: CAS_SEEDS.",
)
_receipt = click.option(
    "--receipt", is_flag=True, help="Keep a receipt of this restore in the store. Also: CAS_RECEIPT=1."
)
_verify = click.option("--verify", is_flag=True, help="Hash what is there instead of trusting its record.")


@click.command(short_help="Put a version into the Hugging Face cache.")
@click.argument("reference", metavar="[REF]", required=False)
@lock_option
@_cache_dir
@_seed
@_verify
@_receipt
@click.option("--refuse-pickle", is_flag=True, help="Refuse a version that contains pickle files (.bin, .pt).")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be fetched; change nothing.")
@common
def restore(
    settings: Settings,
    reference: str | None,
    lock: str | None,
    cache_dir: str | None,
    seeds: tuple[str, ...],
    verify: bool,
    receipt: bool,
    refuse_pickle: bool,
    dry_run: bool,
) -> None:
    """Put the version REF into the Hugging Face cache and print where its snapshots are.

    Without REF, the version that CAS_MODEL, CAS_LOCK or the pin of CAS_DEPLOYMENT names.
    """
    chosen = chosen_version(settings, reference, lock)
    done = _restored(
        settings,
        chosen,
        cache_dir,
        seeds,
        verify=verify,
        receipt=receipt,
        refuse_pickle=refuse_pickle,
        dry_run=dry_run,
    )
    if settings.json:
        output.document(dataclasses.asdict(done))
        return
    for snapshot in done.snapshots.values():
        print(snapshot)


_NO_REF = "\0"  # no word of a command line can be this


class _Wrapper(click.Command):
    """Takes options up to COMMAND; what follows is the command's own.

    `--` ends what is ours. Without it, the first word is REF, unless --lock stands before it.
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
                    return super().parse_args(ctx, args)  # its value is missing: click says so
            elif locked or reference != _NO_REF:
                break
            else:
                reference = args[at]
                at += 1
        command = args[at + 1 :] if args[at : at + 1] == ["--"] else args[at:]
        return super().parse_args(ctx, [*options, "--", reference, *command])


@click.command(cls=_Wrapper, short_help="Restore, then run a command that finds the model.")
@click.argument("reference", metavar="[REF]")
@lock_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="[--] COMMAND [ARG]...")
@_cache_dir
@_seed
@_verify
@_receipt
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
    """Restore REF, set HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE, and become COMMAND.

    `cas run -- COMMAND` takes the version that CAS_MODEL, CAS_LOCK or the pin of CAS_DEPLOYMENT names.
    """
    from cas.config import cache_dirs, environment

    program = shutil.which(command[0])
    if program is None:
        raise InputError(f"command {command[0]} is not found: check its name and PATH")
    given = dict(os.environ)
    chosen = chosen_version(settings, None if reference == _NO_REF else reference, lock)
    done = _restored(settings, chosen, cache_dir, seeds, verify=verify, receipt=receipt)
    variables = {**environment(cache_dirs(cache_dir)), "CAS_MODEL": done.reference}
    sys.stdout.flush()
    # Python ignores SIGPIPE, and the command would inherit that.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execve(program, command, {**given, **variables})  # noqa: S606 (the user's own command)
    except OSError as error:
        raise InputError(f"{program} cannot be run: {error.strerror}") from error


@click.command(short_help="Print the export lines under which clients find a model.")
@click.argument("reference", metavar="[REF]", required=False)
@lock_option
@_cache_dir
@common
def env(settings: Settings, reference: str | None, lock: str | None, cache_dir: str | None) -> None:
    """Print the lines that make clients use the restored REF: eval "$(cas env REF)".

    Without REF, the version that CAS_MODEL, CAS_LOCK or the pin of CAS_DEPLOYMENT names.
    """
    from cas import refs
    from cas.config import cache_dirs, environment
    from cas.local.hf_cache import RepoCache
    from cas.store.store import open_store

    chosen = chosen_version(settings, reference, lock)
    version = chosen.version()
    resolved = version if isinstance(version, refs.Resolved) else refs.resolve(open_store(settings.store), version)
    dirs = cache_dirs(cache_dir)
    variables = {**environment(dirs), "CAS_MODEL": resolved.exact}
    if settings.json:
        output.document(variables)
    else:
        for name, value in variables.items():
            print(f"export {name}={shlex.quote(value)}")
    for repo in resolved.manifest.repos:
        cache = RepoCache(dirs.hub, repo.repo_type, repo.repo_id)
        if not (cache.root / "snapshots" / repo.commit).is_dir():
            print(f"warning: {repo.repo_id} is not in {dirs.hub} yet: run `cas restore {chosen}`", file=sys.stderr)


def _restored(
    settings: Settings,
    chosen: Choice,
    cache_dir: str | None,
    seeds: tuple[str, ...],
    *,
    verify: bool,
    receipt: bool,
    refuse_pickle: bool = False,
    dry_run: bool = False,
) -> Restored:
    from cas.cli.process import keep_memory_together, leave_cores_alone
    from cas.cli.progress import Reporter
    from cas.config import receipt_wanted
    from cas.ops.restore import restorer
    from cas.store.store import open_store

    keep_memory_together()
    leave_cores_alone()
    store = open_store(settings.store)
    with Reporter(quiet=settings.quiet, verbose=settings.verbose) as reporter, contextlib.ExitStack() as stack:
        listen = reporter.listen
        recorder = None
        if (receipt or receipt_wanted()) and not dry_run:
            from cas.ops.restore.receipts import ReceiptWriter

            recorder = stack.enter_context(ReceiptWriter(store, listen, reason=chosen.reason))
            listen = recorder.listen
        done = restorer.restore(
            chosen.version(),
            store,
            cache_dir=cache_dir,
            seeds=seeds,
            verify=verify,
            refuse_pickle=refuse_pickle,
            dry_run=dry_run,
            on_event=listen,
        )
        if recorder:
            recorder.finished(done)
    if not settings.quiet:
        print(_summary(done), file=sys.stderr)
    return done


def _summary(done: Restored) -> str:
    total, fetched = output.size(done.total), output.size(done.fetched)
    if done.dry_run:
        parts = [f"would fetch {fetched} of {total} into {done.hub}"]
        parts += [f"take {output.size(size)} from {seed}" for seed, size in done.reused_from.items()]
        return f"{', '.join(parts)}; nothing was changed"
    if not done.changed:
        return f"{done.reference} is in {done.hub}: {total}, verified before ({done.seconds:.2f} s)"
    reused = f", {output.size(done.reused)} reused" if done.reused else ""
    return (
        f"restored {done.reference} to {done.hub}: {total}, of which {fetched} fetched "
        f"as {output.size(done.wire)}{reused} ({done.seconds:.1f} s)"
    )
