"""What came before the first line of our code: of this process as the kernel tells it, and of made-up ones."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from cas.events import Span
from cas.local.process_start import spans_before

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a process began")

TICKS = os.sysconf("SC_CLK_TCK")
OUTSIDE = 4_000_000  # a process that has no other ancestor than this one's number says


class Processes:
    """A /proc of made-up processes, as it was at one moment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now, self.since_boot = time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME)

    def add(self, pid: int, parent: int, seconds_ago: float, terminal: int = 0) -> None:
        begun = int((self.since_boot - seconds_ago) * TICKS)
        fields = ["S", str(parent), "0", "0", str(terminal), *["0"] * 14, str(begun), *["0"] * 30]
        (self.folder / str(pid)).mkdir()
        (self.folder / str(pid) / "stat").write_text(f"{pid} (a) b (c) {' '.join(fields)}\n")

    def spans(self) -> dict[str, tuple[float, float]]:
        """Beginning and end of each phase, in seconds before that moment."""
        found = spans_before(self.now, self.folder)
        return {
            span.name: (round(self.now - span.begun), round(self.now - span.begun - span.seconds)) for span in found
        }


@pytest.fixture
def processes(tmp_path: Path) -> Processes:
    return Processes(tmp_path)


def test_a_container_begins_with_its_first_process(processes: Processes) -> None:
    processes.add(1, 0, 20)
    processes.add(OUTSIDE, 1, 8)
    processes.add(os.getpid(), OUTSIDE, 5)
    assert processes.spans() == {"container": (20, 5), "python": (5, 0)}


def test_what_a_terminal_or_somebody_from_outside_started_began_no_container(processes: Processes) -> None:
    processes.add(1, 0, 20)
    processes.add(os.getpid(), 1, 5, terminal=34816)
    assert processes.spans() == {"python": (5, 0)}
    (processes.folder / str(os.getpid()) / "stat").unlink()
    (processes.folder / str(os.getpid())).rmdir()
    processes.add(os.getpid(), 0, 5)  # as `docker exec` does
    assert processes.spans() == {"python": (5, 0)}


@pytest.mark.parametrize(("first", "own", "told"), [(400, 5, {"python"}), (400, 390, set()), (20, -50, set())])
def test_what_is_too_long_ago_began_something_else(
    processes: Processes, first: float, own: float, told: set[str]
) -> None:
    processes.add(1, 0, first)
    processes.add(os.getpid(), 1, own)
    assert set(processes.spans()) == told


@pytest.mark.parametrize("text", ["", "1 (x", "1 (x) S", "1 (x) S y 0 0 0", "1 (x) S 1 0 0 z " + "0 " * 40])
def test_what_cannot_be_read_is_not_known(processes: Processes, text: str) -> None:
    (processes.folder / str(os.getpid())).mkdir()
    (processes.folder / str(os.getpid()) / "stat").write_text(text)
    assert processes.spans() == {}


def test_a_system_without_proc_tells_nothing(tmp_path: Path) -> None:
    assert spans_before(time.monotonic(), tmp_path / "none") == ()


def test_this_process_began_before_now() -> None:
    for span in spans_before(time.monotonic()):
        assert isinstance(span, Span) and span.seconds >= 0
