"""For processes of tests that are not about pauses: with this folder in PYTHONPATH, `asyncio.sleep` is hurried.

The RunPod SDK looks only once a second whether it may take another job (1.12, rp_scale.get_jobs: "don't go rapidly"),
so that a hundred jobs would be a hundred idle seconds; and a store that is away is tried five times, with pauses of
three seconds in all (`cas.bucket.retry`). Here they take a twentieth. Time limits are no sleeps, and stay.
"""

from __future__ import annotations

import asyncio
from typing import Any

_sleep = asyncio.sleep


def _hurried(delay: float, result: Any = None) -> Any:
    return _sleep(delay / 20, result)


asyncio.sleep = _hurried  # type: ignore[assignment]
