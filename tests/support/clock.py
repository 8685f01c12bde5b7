"""The clock of leases, set by the test: no test of a lapsed lease sleeps."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from cas.store import lease_entries


class LeaseClock:
    """What the holders of leases in this process take for the time since the machine started.

    Attributes:
        now: seconds, as CLOCK_BOOTTIME shows them, which counts while a machine sleeps. Every other clock stands still.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put this clock in place of the machine's, for as long as the test lasts."""
        self.now = 1000.0
        monkeypatch.setattr(lease_entries, "time", SimpleNamespace(clock_gettime=self._read))

    def _read(self, clock: int) -> float:
        return self.now if clock == time.CLOCK_BOOTTIME else 1000.0
