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
from cas.cli.display.terminal import wrapped
from cas.cli.options import Settings, cache_dir_option, common

if TYPE_CHECKING:
    from cas.ops.doctor.examiner import Diagnosis
    from cas.ops.doctor.findings import Finding
    from cas.ops.doctor.roles import Role

_NAME_WIDTH = 12
_INDENT = " " * (2 + 8 + 1 + _NAME_WIDTH + 1)
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
    shown = _Shown(settings)
    diagnosis = examine(settings.store, role, cache_dir=cache_dir, on_finding=shown.show)
    if settings.json:
        output.document(dataclasses.asdict(diagnosis))
    elif not settings.quiet:
        for line in wrapped(_summary(diagnosis), output.limit(settings)):
            print(line)
    if diagnosis.exit_code:
        click.get_current_context().exit(diagnosis.exit_code)


def _interrupt(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


class _Shown:
    """Prints findings as they come, below the name of their group."""

    def __init__(self, settings: Settings) -> None:
        """Print nothing yet; with -q, print warnings and failures only, with --json nothing."""
        self._quiet, self._silent = settings.quiet, settings.json
        self._limit = output.limit(settings)
        self._group = ""

    def show(self, finding: Finding) -> None:
        """Print one finding and, below it, what to do about it."""
        if self._silent or (self._quiet and finding.status in ("ok", "skipped")):
            return
        if finding.group != self._group:
            self._group = finding.group
            paint.line(sys.stdout, (self._group, Style.BOLD))
        status = (f"  {finding.status:<8}", _STYLES[finding.status])
        found, *more = self._lines(finding.found, 0)
        paint.line(sys.stdout, status, (f" {finding.name:<{_NAME_WIDTH}} {found}", Style.PLAIN))
        if finding.advice:
            advice, *below = self._lines(hints.carry(finding.advice), len("-> "))
            more += [f"-> {advice}", *(f"   {line}" for line in below)]
        for line in more:
            paint.line(sys.stdout, (f"{_INDENT}{line}", Style.PLAIN))

    def _lines(self, text: str, before: int) -> list[str]:
        """A text in lines that fit beside the names, behind so many columns."""
        limit = None if self._limit is None else max(20, self._limit - len(_INDENT) - before)
        return wrapped(text, limit) or [""]


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
