"""Options that several commands share: the global ones, those that name a version, those that record who moves a ref.

Every command loads this module, so it imports nothing that only some commands need.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from cas.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from cas.events import Listener
    from cas.refs.selection import Choice
    from cas.store.store import Store


@dataclass(slots=True)
class Settings:
    """The global options, which stand before a command's name or after it.

    Attributes:
        store: URL or path of the store; None for the default.
        json: print one JSON document instead of text.
        quiet: print no progress and no summary; of a list, one id a line.
        verbose: print notes, and tracebacks of errors.
        no_trunc: cut no cell of a table and no digest, and give exact times.
        cache_dir: the value of --cache-dir, for the commands that messages propose.
        destination: the store that the command writes to where that is another one, for the same.
        progress: how progress is shown: `auto`, `plain`, `json` or `none`.
    """

    store: str | None = None
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    no_trunc: bool = False
    cache_dir: str | None = None
    destination: str | None = None
    progress: str = "auto"


def common(function: Callable[..., None]) -> Callable[..., Any]:
    """Add the global options to a command, and pass it the merged Settings as its first argument."""

    @click.option(
        "--store", metavar="URL", help="s3://bucket/prefix, a path, a name. Default: CAS_STORE, the configuration file."
    )
    @click.option("--json", is_flag=True, help="One JSON document on standard output.")
    @click.option("-q", "--quiet", is_flag=True, help="No progress; of a list, one id a line.")
    @click.option("-v", "--verbose", is_flag=True, help="More notes, and tracebacks of errors.")
    @click.option("--no-trunc", is_flag=True, help="Whole digests and cells, and exact times.")
    @click.option(
        "--progress",
        type=click.Choice(["auto", "plain", "json", "none"]),
        help="A bar, lines (also where no terminal is), or a JSON object a line, on standard error.",
    )
    @functools.wraps(function)
    def wrapped(
        store: str | None, json: bool, quiet: bool, verbose: bool, no_trunc: bool, progress: str | None, **given: Any
    ) -> None:
        ctx = click.get_current_context()
        settings = ctx.ensure_object(Settings)
        settings.store = settings.store if store is None else store
        settings.json |= json
        settings.quiet |= quiet
        settings.verbose |= verbose
        settings.no_trunc |= no_trunc
        settings.progress = progress or settings.progress
        if settings.quiet and settings.verbose:
            raise click.UsageError("-q and -v exclude each other", ctx)
        if settings.verbose:
            _show_notes()
        function(settings, **given)

    return wrapped


def _show_notes() -> None:
    """Write the notes of buckets, such as the foreign objects that a listing leaves out, to standard error."""
    import logging

    logger = logging.getLogger("cas.bucket")
    if not logger.handlers:
        logger.addHandler(logging.StreamHandler(sys.stderr))
        logger.setLevel(logging.INFO)
        logger.propagate = False


lock_option = click.option(
    "--lock", metavar="FILE", help="The version in a file that `cas lock` wrote, instead of REF."
)


def _remember_cache_dir(ctx: click.Context, _: click.Parameter, value: str | None) -> str | None:
    if ctx.get_parameter_source("cache_dir") == click.core.ParameterSource.COMMANDLINE:
        ctx.ensure_object(Settings).cache_dir = value
    return value


cache_dir_option = click.option(
    "--cache-dir",
    metavar="DIR",
    callback=_remember_cache_dir,
    help="The hub cache. Default: HF_HUB_CACHE.",
)
seed_option = click.option(
    "--seed",
    "seeds",
    multiple=True,
    metavar="DIR",
    help="Take from here what it holds: another cache, or any folder of weights. Repeatable. Also: CAS_SEEDS.",
)
include_option = click.option(
    "--include", metavar="GLOB", multiple=True, help="Only matching files, as `hf download` takes them; repeatable."
)
exclude_option = click.option("--exclude", metavar="GLOB", multiple=True, help="No matching files; repeatable.")
verify_option = click.option("--verify", is_flag=True, help="Hash what is there instead of trusting its record.")
receipt_option = click.option(
    "--receipt", is_flag=True, help="Keep a receipt of this restore in the store. Also: CAS_RECEIPT=1."
)
expect_option = click.option(
    "--expect", metavar="DIGEST", help="Refuse, with exit code 6, unless it now names this version, or `none`."
)


def not_empty(_: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Return the value of an option; raise InputError for an empty one, as a script leaves it without its variable."""
    if value is not None and not value.strip():
        raise InputError(f"{option.opts[0]} is empty: give it a value, or leave it out")
    return value


sign_with_option = click.option(
    "--sign-with",
    metavar="FILE",
    callback=not_empty,
    help="Sign with the secret key in this file. Also: CAS_SIGNING_KEY.",
)


def use_signer(store: Store, path: str | None) -> None:
    """Let a store sign with the key that --sign-with names; without it, that of CAS_SIGNING_KEY stays.

    Args:
        store: an open store.
        path: the value of --sign-with, the path of a secret key; None for none.

    Raises:
        InputError: there is no such file, or its passphrase is wrong or is not known.
        FormatError: it is no secret key.
        CacheError: the file cannot be read.
    """
    if path is not None:
        from cas.local.trusted_keys import read_signer

        store.signer = read_signer(path, "--sign-with")


def author_options(reason: str | None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that adds --by and --reason to a command that moves a ref.

    Args:
        reason: what the log records when the user gives no --reason.
    """

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        by = click.option("--by", help="Who moves it. Default: user@host.")
        why = click.option("--reason", default=reason, help="Why, for the record.")
        return by(why(function))

    return add


def naming_options(where: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that adds --tag, --pin and --no-refs to a command that brings versions to a store.

    Args:
        where: the store in words, such as `there`.
    """

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        tag = click.option(
            "--tag", "tags", metavar="TAG", multiple=True, help=f"Name it so {where} instead; repeatable."
        )
        pin = click.option(
            "--pin", "pins", metavar="DEPLOYMENT", multiple=True, help=f"Pin it {where} instead; repeatable."
        )
        none = click.option("--no-refs", is_flag=True, help=f"Set no tag and no pin {where}.")
        return tag(pin(none(function)))

    return add


def noted(settings: Settings) -> Listener:
    """Return what shows the notes and warnings of a command that has no bar, such as what a word was taken for."""
    from cas.cli.display.progress import reporter_for

    return reporter_for(settings).listen


def chosen_version(
    settings: Settings, reference: str | None, lock: str | None, cache_dir: str | None = None, *, keep: bool = False
) -> Choice:
    """The version that a command works on, with the reason why this one.

    Args:
        settings: the global options; -v shows a choice that the environment made.
        reference: the REF argument, which wins over the environment.
        lock: the file of --lock, which wins over the environment.
        cache_dir: the value of --cache-dir, the cache that tells how new a signed pin must be.
        keep: keep in that cache what was seen.

    Raises:
        InputError: both REF and --lock are given, or none of them and the environment names no version.
    """
    from pathlib import Path

    from cas import config, events
    from cas.refs import selection

    if reference is not None and lock is not None:
        raise InputError("REF and --lock name a version each: give one of them")
    if lock is not None:
        return selection.Choice(f"lock file {lock}", lock=Path(lock))
    listen = noted(settings)
    if reference is not None:
        return selection.Choice("named by the caller", _definite(settings, reference, listen))
    environ = dict(os.environ)
    if model := config.read("CAS_MODEL", environ):
        environ["CAS_MODEL"] = _definite(settings, model, listen)
    chosen = selection.choose(environ, store=settings.store, hubs=_hubs(cache_dir), keep=keep)
    listen(events.Noted(f"the version is {chosen}: {chosen.reason}"))
    if chosen.caution:
        listen(events.Warned(chosen.caution))
    return chosen


def _definite(settings: Settings, text: str, listen: Listener) -> str:
    """Return a reference as it was given or, where that needs a store to be understood, as it is written in full."""
    from cas.refs.grammar import parse_reference

    try:
        parse_reference(text)
    except InputError:
        from cas.refs.meaning import definite
        from cas.store.store import open_store

        return str(definite(open_store(settings.store), text, listen))
    return text


def _hubs(cache_dir: str | None) -> tuple[Path, ...]:
    """The hub cache of a command; none for a user without one, whom the command tells so if it needs one."""
    from cas.config import cache_dirs

    try:
        return (cache_dirs(cache_dir).hub,)
    except InputError:
        return ()
