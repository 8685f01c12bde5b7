"""The variables of Azure's and Google's tools, read as this program reads its own."""

from __future__ import annotations

import os

from cas.errors import InputError

_ON, _OFF = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


def first_setting(*names: str) -> tuple[str, str]:
    """Return the first of these variables that is set, and its value without blanks around it; else two empty texts."""
    for name in names:
        if value := (os.environ.get(name) or "").strip():
            return name, value
    return "", ""


def is_switched_on(name: str) -> bool:
    """Return whether a variable says yes.

    Raises:
        InputError: it says neither yes nor no.
    """
    value = first_setting(name)[1].lower()
    if value not in _ON + _OFF:
        raise InputError(f"{name} is {value!a}: write true or false")
    return value in _ON
