"""Results as tables for people, and as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tools.bench.link import LINKS
from tools.bench.measure import spread
from tools.bench.results import MIB, Results, fields_of
from tools.bench.targets import Verdict

_WIDTH = 34


def table(results: Results) -> str:
    """Return one block of lines per link: medians, each followed by its range."""
    lines = [_sizes(results), ""]
    for link in results.links():
        head = f"{'wall s':>21}{'CPU s':>21}{'peak MiB':>9}{'received MB':>12}{'sent MB':>9}{'wall / peer':>20}"
        lines += [f"{LINKS[link].title:{_WIDTH}}{head}"]
        lines += [_line(results, link, case) for case in results.cases(link)] + [""]
    lines += [f"not measured: {what}: {why}" for what, why in results.skipped.items()]
    return "\n".join(lines)


def verdicts_table(verdicts: Sequence[Verdict]) -> str:
    """Return a table of the targets: limit, measured median, and whether it is met."""
    lines = [f"{'targets':58}{'at most':>10}{'median':>10}"]
    for one in verdicts:
        measured = "-" if one.measured is None else _figure(one.measured, one.unit)
        word = {None: "not measured", True: "pass", False: "MISS"}[one.met]
        lines.append(f"{one.what:58}{_figure(one.limit, one.unit):>10}{measured:>10}  {word}")
    return "\n".join(lines)


def write_json(
    path: Path, results: Results, verdicts: Sequence[Verdict], machine: dict[str, Any], settings: dict[str, Any]
) -> None:
    """Write everything that was measured.

    Args:
        path: the file to write.
        results: the runs.
        verdicts: the targets and whether they are met.
        machine: what `tools.bench.machine.facts` returns.
        settings: the options of the run.
    """
    document = {
        "machine": machine,
        "settings": settings,
        "targets": [fields_of(verdict) for verdict in verdicts],
        **results.document(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")


def _line(results: Results, link: str, case: str) -> str:
    ratios = results.ratios(link, case)
    peak = statistics.median(results.each(link, case, lambda one: one.run.peak)) / MIB
    columns = (
        f"{spread(results.walls(link, case)):>21}",
        f"{spread(results.each(link, case, lambda one: one.run.cpu)):>21}",
        f"{peak:>9.0f}",
        f"{_megabytes(results.received(link, case)):>12}",
        f"{_megabytes(results.sent(link, case)):>9}",
        f"{spread(ratios) if ratios else '':>20}",
    )
    return f"  {case:{_WIDTH - 2}}" + "".join(columns) + "".join(_extras(results, link, case))


def _extras(results: Results, link: str, case: str) -> Iterator[str]:
    for name in results.runs[link, case][0].extra:
        yield f"  {name}: {spread(results.extra(link, case, name), 3)}"


def _sizes(results: Results) -> str:
    lines = [f"  {name:42}{value:>16,.0f}" for name, value in results.facts.items()]
    plain, stored = results.facts.get("plain bytes"), results.facts.get("stored bytes")
    if plain and stored:
        lines.append(f"  {'stored / plain':42}{stored / plain:>16.3f}")
    return "\n".join(["sizes", *lines])


def _megabytes(values: Sequence[float]) -> str:
    return f"{statistics.median(values) / 1e6:.1f}" if values else ""


def _figure(value: float, unit: str) -> str:
    return f"{value:.0f} {unit}" if unit == "MiB" else f"{value:.2f} {unit}".strip()
