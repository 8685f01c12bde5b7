"""Pictures of the report for the documents: docs/report-wide.png and docs/report-narrow.png, of a made-up fleet.

    python -m tools.screenshots [FOLDER]    needs Chromium

The figures are invented (`tools/fleet.py`); the page is what `cas report` writes.
"""

from __future__ import annotations

import argparse
import datetime
import tempfile
from pathlib import Path

from cas.formats.digest import hex_of
from cas.ops.inspect.usage import Usage, VersionUsage
from cas.ops.report.benchmark import Case, Wall
from cas.ops.report.figures import Report, figures
from cas.ops.report.page import page
from cas.ops.report.prices import price_list
from cas.ops.report.starts import start_of
from cas.ops.report.stored import stored_figures
from cas.refs.names import Names
from tools import fleet
from tools.browser import Browser

NOW = datetime.datetime(2026, 11, 28, 12, tzinfo=datetime.UTC)
STORE = "s3://models/cas"

_PICTURES = {"report-wide.png": (1400, 2440, False), "report-narrow.png": (390, 2440, True)}
"""Name -> width and height in pixels, and whether in dark colours."""

_COUNT = 4000

# Seconds (median, fastest, slowest) for 1.40 GB from docs/performance.md, "Measured".
_WALLS = {
    "1 Gbit/s": {
        "cas restore": (10.49, 10.45, 10.54),
        "cas restore, float16": (6.06, 6.02, 6.10),
        "s5cmd cp": (12.37, 12.26, 12.49),
        "hf download": (14.37, 13.96, 14.78),
    },
    "loopback": {
        "cas restore": (4.00, 3.92, 4.08),
        "s5cmd cp": (3.73, 3.29, 4.18),
        "hf download": (8.38, 7.90, 8.87),
    },
}


def figures_of_fleet(count: int = _COUNT) -> Report:
    """Return the report about a made-up fleet, its store and a benchmark.

    Args:
        count: how many starts.
    """
    made = fleet.receipts(count, until=NOW)
    starts = [start_of(f"{number:016x}", receipt) for number, receipt in enumerate(made)]
    stored = stored_figures(_usage(), 1_180_000_000, 2, price_list(STORE), sum(start.wire for start in starts))
    return figures(
        starts,
        store=STORE,
        made=NOW,
        since=NOW - datetime.timedelta(days=30),
        stored=stored,
        benchmark=[Case(link, name, Wall(*wall)) for link, walls in _WALLS.items() for name, wall in walls.items()],
    )


def _usage() -> Usage:
    """What the versions of the fleet take up: each model's second version shares most of the first one's chunks."""
    versions = []
    for deployment in fleet.FLEET:
        for is_new in (True, False):
            stored = int(deployment.size * 0.82)
            own = int(stored * (0.28 if is_new else 0.19))
            versions.append(
                VersionUsage(
                    model=deployment.model,
                    digest=hex_of(f"{deployment.model} {is_new}".encode()),
                    names=Names(("latest",) if is_new else (), (deployment.name,) if is_new else ()),
                    created=f"2026-11-{14 if is_new else 2:02d}T09:00:00Z",
                    plain=deployment.size,
                    stored=stored,
                    shared=stored - own,
                    freed=own,
                )
            )
    size = sum(one.freed for one in versions) + sum(one.shared for one in versions) // 2
    days = [datetime.date(2026, 9, 1) + datetime.timedelta(days=9 * number) for number in range(10)]
    return Usage(
        versions=tuple(versions),
        count=len(versions),
        plain=sum(one.plain for one in versions),
        distinct=int(size / 0.82),
        stored=size,
        chunks=size // 3_400_000,
        missing=0,
        unneeded_chunks=210,
        unneeded=720_000_000,
        unreadable=0,
        written={day.isoformat(): (size + 720_000_000) // len(days) for day in days},
    )


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(prog="tools.screenshots", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs"), help="where to (default docs)")
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as temporary, Browser() as browser:
        file = Path(temporary) / "report.html"
        file.write_bytes(page(figures_of_fleet()))
        for name, (width, height, is_dark) in _PICTURES.items():
            opened = browser.open(file, width=width, is_dark=is_dark)
            (folder / name).write_bytes(opened.picture(width, height))
            print(folder / name)


if __name__ == "__main__":
    main()
