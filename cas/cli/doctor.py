"""`cas doctor`."""

from __future__ import annotations

import dataclasses
import signal
import sys
from typing import TYPE_CHECKING

import click

from cas.cli import hints
from cas.cli.display import output, paint
from cas.cli.display.paint import Style
from cas.cli.options import Settings, cache_dir_option, common

if TYPE_CHECKING:
    from cas.ops.doctor.examiner import Diagnosis
    from cas.ops.doctor.findings import Finding
    from cas.ops.doctor.roles import Role

_NAME_WIDTH = 12
_STYLES = {"ok": Style.GREEN, "warning": Style.YELLOW, "failed": Style.RED, "skipped": Style.DIM}


@click.command(short_help="Check the store, your key and this machine.")
@click.option(
    "--role",
    type=click.Choice(["reader", "publisher", "collector"]),
    help="Say whether the key has what this needs, and no more.",
)
@cache_dir_option
@common
def doctor(settings: Settings, role: Role | None, cache_dir: str | None) -> None:
    """Check the store, your key and this machine, and say what to do about each problem.

    What is written in the store lies below doctor/ and is deleted again. The exit code is 0, or that of the worst
    finding.
    """
    from cas.ops.doctor.examiner import examine

    # A service manager stops a command by SIGTERM: what was written is cleared, as after Ctrl-C.
    signal.signal(signal.SIGTERM, _interrupt)
    shown = _Shown(quiet=settings.quiet, silent=settings.json)
    diagnosis = examine(settings.store, role, cache_dir=cache_dir, on_finding=shown.show)
    if settings.json:
        output.document(dataclasses.asdict(diagnosis))
    elif not settings.quiet:
        print(_summary(diagnosis))
    if diagnosis.exit_code:
        click.get_current_context().exit(diagnosis.exit_code)


def _interrupt(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


class _Shown:
    """Prints findings as they come, below the name of their group."""

    def __init__(self, *, quiet: bool, silent: bool) -> None:
        """Print nothing yet. quiet: print warnings and failures only; silent: print nothing."""
        self._quiet, self._silent = quiet, silent
        self._group = ""

    def show(self, finding: Finding) -> None:
        """Print one finding and, below it, what to do about it."""
        if self._silent or (self._quiet and finding.status in ("ok", "skipped")):
            return
        if finding.group != self._group:
            self._group = finding.group
            paint.line(sys.stdout, (self._group, Style.BOLD))
        status = (f"  {finding.status:<8}", _STYLES[finding.status])
        paint.line(sys.stdout, status, (f" {finding.name:<{_NAME_WIDTH}} {finding.found}", Style.PLAIN))
        if finding.advice:
            advice = f"  {'':<8} {'':<{_NAME_WIDTH}} -> {hints.carry(finding.advice)}"
            paint.line(sys.stdout, (advice, Style.PLAIN))


def _summary(diagnosis: Diagnosis) -> str:
    counts = {
        status: sum(finding.status == status for finding in diagnosis.findings)
        for status in ("ok", "warning", "failed", "skipped")
    }
    words = [f"{counts['ok']} ok"]
    words += [f"{count} {status}" for status, count in counts.items() if count and status != "ok"]
    able = ""
    if diagnosis.role is None and diagnosis.roles:
        able = f"; this key has what these roles need: {', '.join(diagnosis.roles)}"
    return f"{', '.join(words)} in {diagnosis.seconds:.1f} s{able}"
