"""Sizes and spans of time as people write them on a command line: `20GB`, `512 MiB`, `30d`."""

from __future__ import annotations

import datetime
import re

import click

_UNITS = {
    "": 1,
    "B": 1,
    **{letter: 1000**power for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}IB": 1024**power for power, letter in enumerate("KMGT", 1)},
}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)", re.IGNORECASE | re.ASCII)

# Seconds of each unit of a time span.
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LONGEST = datetime.timedelta(days=36_500)  # the time that lies a span ago must have a date


class Size(click.ParamType[int]):
    """A number of bytes: `20GB` and `20G` are 20 x 10^9, `20GiB` is 20 x 2^30, in any case of the letters."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of bytes; fails for what is no size."""
        if isinstance(value, int):
            return value
        match = _SIZE.fullmatch(str(value).strip())
        unit = _UNITS.get(match[2].upper()) if match else None
        if match is None or unit is None:
            self.fail(f"{value!r} is no size: write it as 20GB, 512MiB or 1.5TB", param, ctx)
        return int(float(match[1]) * unit)


class Duration(click.ParamType[datetime.timedelta]):
    """A time span such as 90s, 30m, 24h or 7d; a number without a unit is seconds."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime.timedelta:
        """Return the time span; fails for what is none, and for more than a century."""
        if isinstance(value, datetime.timedelta):
            return value
        match = re.fullmatch(r"([0-9]{1,7})([smhdw]?)", str(value))
        if match is None:
            self.fail(f"{value!r} is no time span: write 90s, 30m, 24h or 7d", param, ctx)
        span = datetime.timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
        if span > _LONGEST:
            self.fail(f"{value!r} is longer than {_LONGEST.days} days", param, ctx)
        return span
