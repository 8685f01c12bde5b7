"""How long a boot may take before it is given up, which agrees with how long RunPod waits for a worker.

RunPod takes a worker for unhealthy that is not ready after 7 minutes, or after RUNPOD_INIT_TIMEOUT seconds where the
endpoint sets it (docs.runpod.io/serverless/development/optimization). A worker that gives up a little earlier can
still say why. Where the variable is not set a boot may take half an hour, as it is not known whether anybody counts; on
RunPod it warns before the 7 minutes are over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from cas.config import read

VARIABLE = "RUNPOD_INIT_TIMEOUT"

_OWN = 1800.0  # seconds
_OF_RUNPOD = 420.0  # seconds
_MARGIN = 20.0  # seconds to report the reason in, half of the time at most
_LONGEST = 7000.0  # seconds: folders of a download are taken for abandoned after two hours (worker/model/hub_bytes.py)
_NEXT = "set it to more in the environment of the endpoint, such as 1800, or choose a smaller variant of the model"


class TimeLimit(NamedTuple):
    """How long a boot may take.

    Attributes:
        seconds: from the start of the boot until it is given up.
        why: why it is given up then, and what to do, in words.
        warned_after: seconds until a warning; infinity for none.
        warning: its text.
    """

    seconds: float
    why: str
    warned_after: float = math.inf
    warning: str = ""


def time_limit(environ: Mapping[str, str] | None = None) -> TimeLimit:
    """Return how long a boot may take in an environment, by default that of this process."""
    if given := _given(environ):
        why = f"{VARIABLE} is {given:g}, after which RunPod takes a worker that is not ready for unhealthy: {_NEXT}"
        return TimeLimit(min(_less_margin(given), _LONGEST), why)
    own = TimeLimit(_OWN, "look at the log for what it did")
    if not read("RUNPOD_WEBHOOK_GET_JOB", environ):
        return own
    warning = (
        f"the model is still on its way: RunPod takes a worker that is not ready after {_OF_RUNPOD:g} s for unhealthy, "
        f"as {VARIABLE} is not set: {_NEXT}"
    )
    return own._replace(warned_after=_less_margin(_OF_RUNPOD), warning=warning)


def _given(environ: Mapping[str, str] | None) -> float | None:
    """The variable's value; None where it is unset, or no positive number: RunPod cannot count by that, either."""
    try:
        value = float(read(VARIABLE, environ))
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def _less_margin(limit: float) -> float:
    return limit - min(_MARGIN, limit / 2)
