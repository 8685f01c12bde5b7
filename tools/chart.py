"""Draw docs/download-1gbit.svg, the chart of the README, from the table in docs/performance.md.

python -m tools.chart            writes the file
python -m tools.chart --check    exits with 1 when the file is not what would be written
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parents[1] / "docs"
FILE = DOCS / "download-1gbit.svg"

_STYLE = """
  .t { fill: #1f2328; font-size: 15px } .b { font-weight: 600 } .s { fill: #57606a; font-size: 13px }
  .ours { fill: #4051b5 } .peer { fill: #afb8c1 }
  @media (prefers-color-scheme: dark) {
    .t { fill: #e6edf3 } .s { fill: #9da7b3 } .ours { fill: #8c9eff } .peer { fill: #57606a }
  }"""
_ROW, _TOP, _LEFT, _WIDTH = 36, 62, 215, 880


_SHOWN = {
    "`cas restore`": "cas restore",
    "`cas restore`, float16 variant": "cas restore, float16 variant",
    "`s5cmd cp`": "s5cmd cp",
    "`rclone copy`": "rclone copy",
    "boto3 `download_file`": "boto3 download_file",
    "`hf download`, from a local hub": "hf download",
}
"""Rows of the table, and what the chart calls them."""


class Bar(NamedTuple):
    """A row of the chart.

    Attributes:
        name: the program.
        seconds: its median, in seconds.
    """

    name: str
    seconds: float


def bars() -> list[Bar]:
    """Return what took how long over 1 Gbit/s: the rows about the float32 model in docs/performance.md."""
    table = (DOCS / "performance.md").read_text("utf-8").partition("\n## Against peers\n")[2].partition("\nRatios")[0]
    found = dict(re.findall(r"^\| (.+?) \| ([\d.]+) \(", table, re.MULTILINE))
    return [Bar(name, float(found[row])) for row, name in _SHOWN.items()]


def drawn(rows: list[Bar]) -> str:
    """Return the chart as SVG."""
    scale = (_WIDTH - _LEFT - 80) / max(row.seconds for row in rows)
    height = _TOP + _ROW * len(rows) + 30
    family = "system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" font-family="{family}">',
        "<title>A model of 1.40 GB over 1 Gbit/s, in seconds</title>",
        f"<style>{_STYLE}\n</style>",
        '<text class="t b" x="10" y="26">A model of 1.40 GB over 1 Gbit/s: seconds, shorter is better</text>',
        '<text class="s" x="10" y="47">Medians of whole processes. cas verifies every byte, the others none</text>',
    ]
    for number, row in enumerate(rows):
        top, length = _TOP + _ROW * number, round(row.seconds * scale)
        kind = "ours" if row.name.startswith("cas") else "peer"
        lines += [
            f'<text class="t" x="{_LEFT - 10}" y="{top + 19}" text-anchor="end">{row.name}</text>',
            f'<rect class="{kind}" x="{_LEFT}" y="{top + 2}" width="{length}" height="24" rx="3"/>',
            f'<text class="t" x="{_LEFT + length + 10}" y="{top + 19}">{row.seconds:.1f} s</text>',
        ]
    source = "docs/performance.md has the command and the machine."
    return "\n".join([*lines, f'<text class="s" x="10" y="{height - 10}">{source}</text>', "</svg>", ""])


def main(words: list[str]) -> int:
    """Write or check the file, and return the exit code."""
    text = drawn(bars())
    if "--check" in words:
        return int(FILE.read_text("utf-8") != text)
    FILE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
