"""Measure the phases of a cold restore over each link: `python -m tools.bench.phases` prints and draws them."""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

from tools.bench.client import Client
from tools.bench.scene import MODEL
from tools.bench.stage import ALL, named, stage

# Phase -> (its beginning, its end); programs/phased_restore.py names the moments.
PHASES = {
    "start Python, import": ("begun", "start"),
    "resolve the reference": ("resolve", "plan"),
    "plan": ("plan", "fetch"),
    "wait for the first chunk": ("fetch", "first chunk"),
    "fetch, decode, hash, write": ("first chunk", "last chunk"),
    "sync, link, record": ("last chunk", "done"),
    "end": ("done", "ended"),
}
_COLOURS = ("#999999", "#E69F00", "#F0E442", "#CC79A7", "#0072B2", "#009E73", "#000000")  # Okabe and Ito
_PICTURE = Path(__file__).parents[2] / "docs" / "phases.png"


def main() -> int:
    """Measure, print medians, draw them, and return the exit code 0."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.phases", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="restores over each link (default 3)")
    parser.add_argument("--links", default=ALL, type=named, help=f"of {ALL} (default: all)")
    parser.add_argument("--png", type=Path, default=_PICTURE, help="default: docs/phases.png")
    options = parser.parse_args()
    medians: dict[str, dict[str, float]] = {}
    with stage(options.links) as (scene, able):
        scene.prepare("version")
        for link in able:
            if link.tls and not scene.tls:
                continue
            client = scene.over(link)
            rounds = [_restore(client) for _ in range(options.rounds + 1)][1:]
            medians[link.title] = {name: statistics.median(round_[name] for round_ in rounds) for name in PHASES}
    print(f"{'seconds':28}" + "".join(f"{title:>16}" for title in medians))
    for name in PHASES:
        print(f"{name:28}" + "".join(f"{phases[name]:16.3f}" for phases in medians.values()))
    print(f"{'together':28}" + "".join(f"{sum(phases.values()):16.3f}" for phases in medians.values()))
    _draw(medians, options.png)
    return 0


def _restore(client: Client) -> dict[str, float]:
    measured = client.python("phased_restore", MODEL, client.empty("cache"))
    run, marks = measured.run, measured.document
    moments = {"begun": run.begun, **marks, "ended": run.begun + run.wall}
    return {name: moments[end] - moments[begin] for name, (begin, end) in PHASES.items()}


def _draw(medians: dict[str, dict[str, float]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.2 + 0.55 * len(medians)), layout="constrained")
    panel: Any = figure.subplots()
    titles = list(medians)
    left = [0.0] * len(titles)
    for name, colour in zip(PHASES, _COLOURS, strict=True):
        widths = [medians[title][name] for title in titles]
        panel.barh(titles, widths, left=left, color=colour, label=name, height=0.6)
        left = [begin + width for begin, width in zip(left, widths, strict=True)]
    for row, total in enumerate(left):
        panel.text(total, row, f"  {total:.2f} s", va="center", fontsize=8)
    panel.invert_yaxis()
    panel.set_title("A cold restore of 1.40 GB by phase, in seconds", fontsize=10, loc="left", fontweight="bold")
    panel.tick_params(labelsize=8, length=0)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.legend(fontsize=7, ncols=4, frameon=False, loc="upper center", bbox_to_anchor=(0.45, -0.1))
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    sys.exit(main())
