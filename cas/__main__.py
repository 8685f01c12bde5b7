"""`python -m cas`: the `cas` command, for environments whose PATH lacks it."""

from __future__ import annotations

from cas.cli.main import main

main()
