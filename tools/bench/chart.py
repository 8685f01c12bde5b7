"""Draw the downloads: one panel per link, medians as bars with their ranges, s5cmd as a dashed line to compare with."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from tools.bench.cases import CASES, DOWNLOAD
from tools.bench.link import LINKS
from tools.bench.results import Results

# Okabe and Ito's palette, which people with any colour vision can tell apart (https://jfly.uni-koeln.de/color/).
_CAS, _CAST, _OTHERS, _REFERENCE = "#0072B2", "#56B4E9", "#BBBBBB", "#D55E00"
_COLUMNS = 2


def draw(results: Results, path: Path, machine: dict[str, Any]) -> None:
    """Write a PNG.

    Args:
        results: the runs.
        path: the file to write.
        machine: what `tools.bench.machine.facts` returns.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.figure import Figure

    links = [link for link in results.links() if _names(results, link)]
    rows = -(-len(links) // _COLUMNS)
    figure = Figure(figsize=(5.2 * _COLUMNS, 0.9 + 2.6 * rows), layout="constrained")
    panels = figure.subplots(rows, _COLUMNS, squeeze=False).flat
    for panel, link in zip(panels, links, strict=False):
        _panel(panel, results, link)
    for panel in panels[len(links) :]:
        panel.set_visible(False)
    size = results.facts.get("plain bytes", 0) / 1e9
    figure.suptitle(f"Downloading a model of {size:.2f} GB: seconds, shorter is better", fontsize=12, x=0.01, ha="left")
    note = (
        f"Medians of whole processes, whiskers from fastest to slowest run; dashed: {DOWNLOAD}. "
        f"{machine['cores']} cores ({machine['processor']}), server and clients on one machine."
    )
    figure.supxlabel(note, fontsize=7.5, color="#555555", x=0.01, ha="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _names(results: Results, link: str) -> list[str]:
    return [case.name for case in CASES if case.download and results.walls(link, case.name)]


def _panel(panel: Any, results: Results, link: str) -> None:
    names = _names(results, link)
    walls = [results.walls(link, name) for name in names]
    medians = [statistics.median(values) for values in walls]
    ranges = [
        [middle - min(values) for middle, values in zip(medians, walls, strict=True)],
        [max(values) - middle for middle, values in zip(medians, walls, strict=True)],
    ]
    panel.barh(names, medians, xerr=ranges, color=[_colour(name) for name in names], height=0.7, capsize=3,
               error_kw={"elinewidth": 1, "ecolor": "#333333"})  # fmt: skip
    panel.invert_yaxis()
    reference = statistics.median(results.walls(link, DOWNLOAD)) if DOWNLOAD in names else None
    if reference:
        panel.axvline(reference, color=_REFERENCE, linestyle="--", linewidth=1.2, zorder=3)
    widest = max(max(values) for values in walls)
    for row, (name, middle, values) in enumerate(zip(names, medians, walls, strict=True)):
        ratios = results.ratios(link, name, DOWNLOAD)
        share = f"   {statistics.median(ratios):.2f} x" if ratios and name != DOWNLOAD else ""
        panel.text(max(values) + 0.02 * widest, row, f"{middle:.1f} s{share}", va="center", fontsize=8)
    panel.set_xlim(0, 1.36 * widest)
    panel.set_title(LINKS[link].title, fontsize=10, loc="left", fontweight="bold")
    panel.tick_params(labelsize=8, length=0)
    panel.spines[["top", "right", "left"]].set_visible(False)


def _colour(name: str) -> str:
    if not name.startswith(("cas ", "cas.")):
        return _OTHERS
    return _CAS if name == "cas restore" else _CAST
