"""Times as people read them: `3 hours ago`."""

from __future__ import annotations

import datetime

_DAY = 86400
_UNITS = {
    "year": 365 * _DAY,
    "month": 30 * _DAY,
    "week": 7 * _DAY,
    "day": _DAY,
    "hour": 3600,
    "minute": 60,
    "second": 1,
}  # seconds


def ago(timestamp: str, now: datetime.datetime | None = None) -> str:
    """How long ago a time was, or in how long it will be, in the largest unit of which there are two (docker's way).

    Args:
        timestamp: a time in ISO 8601, as the store keeps it. Any other text is returned as it is.
        now: the time to count from; None for the clock's.
    """
    try:
        at = datetime.datetime.fromisoformat(timestamp)
    except ValueError:
        return timestamp
    if at.tzinfo is None:
        at = at.replace(tzinfo=datetime.UTC)
    seconds = ((now or datetime.datetime.now(datetime.UTC)) - at).total_seconds()
    span = _span(int(abs(seconds)))
    if not span:
        return "now"
    return f"{span} ago" if seconds > 0 else f"in {span}"


def _span(seconds: int) -> str:
    for unit, length in _UNITS.items():
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}s"
    return f"{seconds} second" if seconds else ""
