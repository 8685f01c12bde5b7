"""Ctrl-C in a terminal: the bar is gone, and one line says what happened."""

from __future__ import annotations

import sys

import pexpect
import pyte

COLUMNS = 80
# A command whose operation moves a third of its bytes and then waits for ever.
WAITING = """
import signal, sys
from cas import events
from cas.cli.main import main
from cas.ops.restore import restorer

def restore(*_, on_event, **__):
    on_event(events.Phase("fetch", 300_000_000))
    on_event(events.Moved(100_000_000, 80_000_000))
    on_event(events.Noted("waiting", important=True))
    signal.pause()

restorer.restore = restore
sys.argv = ["cas", "restore", "m"]
main()
"""


def test_ctrl_c_leaves_one_line_and_no_bar() -> None:
    child = pexpect.spawn(
        sys.executable, ["-c", WAITING], dimensions=(24, COLUMNS), timeout=60, encoding="utf-8", env={"TERM": "xterm"}
    )
    child.expect("waiting.*100.0/300.0 MB")
    before = child.before + child.after
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    screen = pyte.Screen(COLUMNS, 24)
    pyte.Stream(screen).feed(before + child.before)
    lines = [line.rstrip() for line in screen.display if line.strip()]
    assert lines[0] == "waiting"
    assert " ".join(lines[1:]).startswith("cas: interrupted; nothing half-done is visible."), lines
    assert not any("fetching" in line or "━" in line for line in lines)
