"""Progress: a bar on a terminal, lines elsewhere, silence on request."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
import threading

import pytest

from cas import events
from cas.cli.display.bar import Bar
from cas.cli.display.phases import DESCRIPTIONS
from cas.cli.display.progress import Reporter

MB = 1_000_000


class Lines(io.StringIO):
    """A stream that is no terminal; its event `came` is set when a line is written."""

    def __init__(self) -> None:
        super().__init__()
        self.came = threading.Event()

    def write(self, text: str) -> int:
        done = super().write(text)
        self.came.set()
        return done


def test_lines_tell_what_is_done_how_fast_and_how_long_still() -> None:
    out = Lines()
    with Reporter(out=out, every=0.02) as reporter:
        reporter.listen(events.Phase("upload", 400 * MB))
        reporter.listen(events.Moved(100 * MB, 80 * MB))
        assert out.came.wait(10)
    line = out.getvalue().splitlines()[-1]
    assert re.fullmatch(r"uploading 100\.0 of 400\.0 MB, [\d.,]+ MB/s on the wire, \d+ s left", line)


def test_a_phase_of_unknown_size_shows_that_it_lives() -> None:
    out = Lines()
    with Reporter(out=out, every=0.02) as reporter:
        reporter.listen(events.Phase("download"))
        assert out.came.wait(10)
    assert re.match(r"downloading from the hub, \d+ s so far\n", out.getvalue())


def test_no_line_comes_after_the_end_or_before_the_first_interval() -> None:
    out = Lines()
    with Reporter(out=out) as reporter:
        reporter.listen(events.Phase("upload", 400 * MB))
        reporter.listen(events.Moved(400 * MB, 80 * MB))
    assert out.getvalue() == ""


@pytest.mark.parametrize(
    ("quiet", "verbose", "wanted"),
    [(True, False, "warning: w\n"), (False, False, "warning: w\n"), (False, True, "n\nwarning: w\n")],
)
def test_warnings_always_show_and_notes_on_request(quiet: bool, verbose: bool, wanted: str) -> None:
    out = Lines()
    with Reporter(quiet=quiet, verbose=verbose, out=out) as reporter:
        reporter.listen(events.Noted("n"))
        reporter.listen(events.Warned("w"))
    assert out.getvalue() == wanted


def on_a_terminal(*happened: events.Event, quiet: bool = False) -> str:
    """What a terminal of 100 columns receives while these events happen."""
    leader, follower = pty.openpty()
    received = bytearray()

    def read() -> None:
        try:
            while piece := os.read(leader, 65536):
                received.extend(piece)
        except OSError:  # how Linux says that the other end has closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(follower, "w") as out, Reporter(out=out, quiet=quiet) as reporter:
        for event in happened:
            reporter.listen(event)
    reader.join()
    os.close(leader)
    return re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", received.decode())


def test_a_terminal_gets_a_bar_with_bytes_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    seen = on_a_terminal(
        events.Phase("upload", 400 * MB),
        events.Moved(100 * MB, 80 * MB),
        events.Warned("w" * 150),
        events.Moved(100 * MB, 80 * MB),
    )
    assert "uploading" in seen
    assert "200.0/400.0 MB" in seen
    assert "MB/s on the wire" in seen
    assert re.search(r"\d\d:\d\d|--:--", seen)
    assert "warning: " + "w" * 150 in seen


def test_a_narrow_terminal_gets_one_line_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("TERM", "xterm")
    seen = on_a_terminal(events.Phase("upload", 400 * MB), events.Moved(400 * MB, 80 * MB))
    lines = [line for line in re.split(r"[\r\n]+", seen) if line]
    assert lines and all(len(line) < 30 for line in lines)


def test_the_bar_fits_its_terminal_where_standard_output_leads_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys, "__stdout__", io.StringIO())
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 50, 0, 0))
    with os.fdopen(follower, "w") as out:
        Bar(out, "uploading", 400 * MB).update(400 * MB, "30.0 MB/s on the wire")
        seen = os.read(leader, 65536).decode()
    os.close(leader)
    lines = [line for line in re.split(r"\r\x1b\[2K", seen) if line]
    assert lines and all(len(line) < 50 for line in lines)


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_figures_are_whole_in_the_bar_of_every_phase(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for description in (*DESCRIPTIONS.values(), "d" * 90):
        out = io.StringIO()
        Bar(out, description, 91_400 * MB).update(91_400 * MB, "1,048.1 MB/s on the wire")
        lines = [line for line in re.split(r"\r\x1b\[2K", out.getvalue()) if line]
        assert all(len(line) < columns for line in lines)
        assert "91,400.0/91,400.0 MB" in lines[-1]


def test_a_terminal_that_only_prints_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    seen = on_a_terminal(events.Phase("upload", 400 * MB), events.Moved(100 * MB, 80 * MB), events.Warned("w"))
    assert seen.replace("\r\n", "\n") == "warning: w\n"


@pytest.mark.parametrize(("encoding", "bar"), [("utf-8", "━━━━──"), ("ascii", "####--"), ("latin-1", "####--")])
def test_the_bar_is_drawn_with_what_the_terminal_can_show(encoding: str, bar: str) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    drawn = Bar(out, "uploading", 3 * MB)
    drawn.update(2 * MB, "")
    drawn.hide()
    drawn.show()
    drawn.clear()
    assert bar in out.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


def test_a_quiet_terminal_gets_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert on_a_terminal(events.Phase("upload", 400 * MB), events.Moved(100 * MB, 80 * MB), quiet=True) == ""
