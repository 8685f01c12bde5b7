"""The variables of Azure's and Google's tools, read as this program reads its own."""

from __future__ import annotations

from cas import config


def first_setting(*names: str) -> tuple[str, str]:
    """Return the first of these variables that is set, and its value without blanks around it; else two empty texts."""
    value, name = config.first(*names)
    return name, value


def is_switched_on(name: str) -> bool:
    """Return whether a variable says yes.

    Raises:
        InputError: it says neither yes nor no.
    """
    return bool(config.switch(name))
