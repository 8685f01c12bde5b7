"""`cas serve`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from cas.cli.display import output, paint
from cas.cli.options import Settings, common, sign_with_option, use_signer
from cas.cli.program import CommandNotExecutable, find_program, inherited_variables
from cas.cli.units import Size
from cas.errors import NotFoundError
from cas.parallel import INTERRUPTIBLE_WAIT

if TYPE_CHECKING:
    from cas import events
    from cas.cli.display.progress import Reporter
    from cas.ops.serve.server import HubServer

_LOCAL = ("127.0.0.1", "::1", "localhost")


class _Server(click.Command):
    """Parses our options up to the first `--`, and leaves everything after it to the command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" not in args:
            given = super().make_parser(ctx).parse_args(list(args))[0].get("command")
            if isinstance(given, tuple | list) and given:  # click has a value of its own for none
                raise click.UsageError(f"write `--` before the command {given[0]}", ctx)
        return super().parse_args(ctx, args)


@click.command(cls=_Server, short_help="Serve the store as a hub, for HF_ENDPOINT.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND [ARG]...]")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="The TCP port. Default: 8000; with COMMAND a free one.")
@click.option("--tag", "tags", multiple=True, metavar="[MODEL:]TAG", help="Serve what this tag names. Repeatable.")
@click.option("--pin", "pins", multiple=True, metavar="DEPLOYMENT", help="Serve what is pinned there. Repeatable.")
@click.option("--token", metavar="TOKEN", help="Answer only who sends it, as HF_TOKEN. Also: CAS_SERVE_TOKEN.")
@click.option("--upstream", metavar="URL", help="Fetch from this hub what the store lacks, and publish it.")
@sign_with_option
@click.option("--cache", metavar="DIR", help="The folder of fetched chunks. Default: ~/.cache/model-cas/serve.")
@click.option("--cache-size", type=Size(), default="20GB", show_default=True, help="The most that it may take.")
@common
def serve(
    settings: Settings,
    command: tuple[str, ...],
    host: str,
    port: int | None,
    tags: tuple[str, ...],
    pins: tuple[str, ...],
    token: str | None,
    upstream: str | None,
    sign_with: str | None,
    cache: str | None,
    cache_size: int,
) -> None:
    """Answer clients of Hugging Face's hub from the store, until interrupted.

    Without --tag and --pin, all that the store's tags and pins name is served. With COMMAND, run it with HF_ENDPOINT
    set to this server, and end with it.
    """
    from cas import config
    from cas.api import serving
    from cas.cli.display.progress import reporter_for
    from cas.store.store import open_store

    serving.require_libraries()
    program = find_program(command[0]) if command else None
    # Copied before the server and its libraries set variables of their own.
    inherited = inherited_variables()
    token = config.read("CAS_SERVE_TOKEN") or None if token is None else token
    store = open_store(settings.store)
    use_signer(store, sign_with)
    with (
        reporter_for(settings) as reporter,
        serving.serve(
            store,
            host=host,
            port=port if port is not None else 0 if command else serving.PORT,
            tags=tags,
            pins=pins,
            token=token,
            upstream=upstream,
            cache=cache,
            cache_size=cache_size,
            on_event=_listener(reporter),
        ) as server,
    ):
        _tell_start(settings, server, store.where, token, upstream, is_alone=not command)
        if program:
            code = _run_command([program, *command[1:]], _variables(inherited, server, token))
        else:
            code = 0
            _wait_for_signal()
    click.get_current_context().exit(code)


def _listener(reporter: Reporter) -> events.Listener:
    """Show the events of a server: which versions are chosen, and warnings."""
    from cas import events
    from cas.ops.serve.catalog import Chosen

    def listen(event: events.Event) -> None:
        reporter.listen(events.Ended(event.text) if isinstance(event, Chosen) else event)

    return listen


def _tell_start(
    settings: Settings, server: HubServer, store: str, token: str | None, upstream: str | None, *, is_alone: bool
) -> None:
    """Say what is served and where: one JSON document with --json, unless standard output is the command's."""
    try:
        hosted = server.repos()
    except NotFoundError:
        if upstream is None:
            raise
        hosted = []
    if not hosted and upstream is None:
        raise NotFoundError(f"{store} has no tags and no pins, so there is nothing to serve: publish, or tag a version")
    if not settings.quiet:
        print(f"serving {output.count(len(hosted), 'repo')} of {store} at {server.endpoint}", file=sys.stderr)
        if is_alone:
            print(f"export HF_ENDPOINT={server.endpoint}", file=sys.stderr, flush=True)
    if server.address not in _LOCAL and token is None:
        paint.warn(sys.stderr, f"whoever reaches {server.address} can read it: set a token with --token")
    if settings.json and is_alone:
        from cas.formats.digest import named

        repos = [
            {
                "repo_id": each.repo.repo_id,
                "repo_type": each.repo.repo_type,
                "commit": each.repo.commit,
                "reference": each.reference,
                "version": f"{each.version.model}@{named(each.version.digest)}",
            }
            for each in hosted
        ]
        output.document({"endpoint": server.endpoint, "store": store, "repos": repos})
        sys.stdout.flush()


def _variables(inherited: Mapping[str, str], server: HubServer, token: str | None) -> dict[str, str]:
    """The environment of the command: its hub is this server, whatever proxies and offline switches were set."""
    variables = {**inherited, "HF_ENDPOINT": server.endpoint}
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        variables.pop(name, None)
    for name in ("NO_PROXY", "no_proxy"):
        variables[name] = ",".join(filter(None, (variables.get(name), *_LOCAL, server.address)))
    if token is not None:
        own = inherited.get("HF_TOKEN", "").strip()
        variables["HF_TOKEN"] = f"{token}:{own}" if own else token
    return variables


def _wait_for_signal() -> None:
    """Wait until somebody interrupts or terminates this process: for a server that is the ordinary end."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    while not ended.wait(INTERRUPTIBLE_WAIT):
        pass
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # a second one ends it at once


def _run_command(command: list[str], variables: dict[str, str]) -> int:
    """Run the command to its end, pass signals on to it, and return its exit code as a shell tells it."""
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def pass_on(number: int, _: object) -> None:
        if child is None:
            early.append(number)
        elif number != signal.SIGINT or not _has_terminal():  # a terminal sends an interrupt to the command itself
            child.send_signal(number)

    # Before the command begins, which may signal at once. What is ignored, as by nohup, stays so for the command, too.
    ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    numbers = [number for number in ends if signal.getsignal(number) is not signal.SIG_IGN]
    for number in numbers:
        signal.signal(number, pass_on)
    try:
        child = subprocess.Popen(command, env=variables)  # noqa: S603 (the user's own command)
    except OSError as error:
        raise CommandNotExecutable.because(command[0], error) from error
    for sent in early:
        pass_on(sent, None)
    code = child.wait()
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)  # there is nobody left to pass it on to: it ends this process
    return code if code >= 0 else 128 - code


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
