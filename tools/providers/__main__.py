"""One table: what the program does on every server that this machine can run. `make providers` prints it.

Each server starts in a temporary folder and gets every operation of `operations.OPERATIONS`, in order. A server that is
not installed is skipped with a reason. Exit code 1 says that an operation failed that the server is not known to lack.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tools.providers.operations import OPERATIONS, outcome
from tools.providers.servers import PROVIDERS, CannotStart, Provider, variables_only
from tools.providers.words import FAILED, LACKING
from tools.servers.azurite import AzuriteError
from tools.servers.nginx import NginxError
from tools.servers.seaweed import SeaweedError


def main() -> int:
    """Run the table's cells, print it, and return the exit code."""
    names = [provider.name for provider in PROVIDERS]
    parser = argparse.ArgumentParser("python -m tools.providers", description=__doc__)
    parser.add_argument("--only", action="append", choices=names, help="this server; may be given several times")
    args = parser.parse_args()
    columns: dict[str, list[str]] = {}
    notes: list[str] = []
    for provider in PROVIDERS:
        if args.only and provider.name not in args.only:
            continue
        print(f"… {provider.name}", file=sys.stderr, flush=True)
        columns[provider.name], said = column(provider)
        notes += [f"{provider.name}: {note}" for note in said]
    print(table(columns))
    for note in notes:
        print(note)
    return int(any(FAILED in cells for cells in columns.values()))


def column(provider: Provider) -> tuple[list[str], list[str]]:
    """Run every operation on one server; return its cells, and the reasons for what failed or was skipped."""
    with tempfile.TemporaryDirectory(prefix="cas-providers-") as folder, variables_only({}):
        try:
            with provider.start(Path(folder)) as (url, variables), variables_only(variables):
                outcomes = [outcome(operation, url) for operation in OPERATIONS]
        except (CannotStart, AzuriteError, NginxError, SeaweedError) as why:
            return ["skipped"] * len(OPERATIONS), [f"skipped: {why}"]
    cells = [
        LACKING if word == FAILED and operation.name in provider.lacks else word
        for operation, (word, _) in zip(OPERATIONS, outcomes, strict=True)
    ]
    return cells, [reason for _, reason in outcomes if reason]


def table(columns: dict[str, list[str]]) -> str:
    """Return the table as Markdown, a row for each operation."""
    lines = [["", *columns], ["---"] * (len(columns) + 1)]
    for number, operation in enumerate(OPERATIONS):
        lines.append([operation.name, *(cells[number] for cells in columns.values())])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
