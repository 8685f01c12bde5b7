"""Write docs/man/*.1, the manual pages, from what `cas --help` says: the wheel puts them where `man` finds them.

python -m tools.man            writes the pages
python -m tools.man --check    exits with 1 when a page is not what would be written
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cas.cli.main import root
from cas.cli.manual.pages import pages

FOLDER = Path(__file__).parents[1] / "docs" / "man"


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """Run the command and return its exit code.

    Args:
        arguments: command-line arguments, by default those of this process.
        folder: where the pages are, or will be.
    """
    parser = argparse.ArgumentParser("python -m tools.man", description="Write the manual pages.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a page has drifted")
    checks = parser.parse_args(arguments).check
    wanted = {f"{name}.1": text for name, text in pages(root).items()}
    there = {path.name: path.read_text("ascii") for path in folder.glob("*.1")}
    drifted = sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))
    if checks:
        for name in drifted:
            print(
                f"{folder / name} is not what `cas --help` says: run python -m tools.man, and commit", file=sys.stderr
            )
        return 1 if drifted else 0
    folder.mkdir(parents=True, exist_ok=True)
    for name in drifted:
        if name in wanted:
            (folder / name).write_text(wanted[name], "ascii")
        else:
            (folder / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
