"""Record docs/recording.svg: real commands in a terminal of 96 columns, as an SVG that plays by itself.

`python -m tools.recording` starts a local hub with all-MiniLM-L6-v2, runs each command of `SCENES` in a pseudo-terminal
with a store and a cache of its own, and follows what it prints with a terminal emulator (pyte). Each screen that stood
for a moment becomes a frame. Times are the real ones, but for pauses before and after a command. No script is in the
file, only CSS, so that it plays where pictures of documents are shown.
"""

from __future__ import annotations

import fcntl
import html
import os
import pty
import re
import select
import shutil
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pyte

from tools.models.minilm import model_dir
from tools.servers.hub import Hub

FILE = Path(__file__).parents[1] / "docs" / "recording.svg"
REPO = "sentence-transformers/all-MiniLM-L6-v2"
COLUMNS, ROWS = 96, 24

SCENES = (
    f"cas publish minilm --repo {REPO}",
    "cas derive minilm --cast float16 --tag fp16",
    "cas ls minilm",
    "rm -r ~/.cache/huggingface   # another machine has nothing",
    "cas restore minilm:fp16",
    "cas pin eu-prod minilm",
    "cas pin eu-prod minilm:fp16 --reason 'half the bytes'",
    "cas rollback pin:eu-prod/minilm",
    "cas history pin:eu-prod/minilm",
)

_STEP, _BEFORE, _AFTER, _END = 0.08, 0.9, 1.6, 5.0
"""Seconds: between frames, before a command that was typed, after one has ended, and before it begins anew."""

_COLOURS = {"red": "#f47067", "green": "#6bc46d", "brown": "#daaa3f", "yellow": "#daaa3f", "blue": "#6cb6ff"}
_FONT = "text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#adbac7}"
_LINE, _CHARACTER = 18, 8.43  # pixels, of a font of 14 pixels


class Frame(NamedTuple):
    """A screen.

    Attributes:
        lines: each line of it, as the inside of an SVG text.
        seconds: how long it stands.
    """

    lines: tuple[str, ...]
    seconds: float


def _line(screen: pyte.Screen, number: int) -> str:
    """Return a line of the screen as the inside of an SVG text: one span for each run of one colour."""
    spans: list[tuple[str, str]] = []
    for column in range(screen.columns):
        character = screen.buffer[number][column]
        colour = f'fill="{_COLOURS[character.fg]}"' if character.fg in _COLOURS else ""
        style = " ".join(filter(None, (colour, 'font-weight="700"' if character.bold else "")))
        if spans and spans[-1][0] == style:
            spans[-1] = (style, spans[-1][1] + character.data)
        else:
            spans.append((style, character.data))
    if spans and not spans[-1][0]:
        spans[-1] = ("", spans[-1][1].rstrip())
    runs = ((style, html.escape(text, quote=False)) for style, text in spans if text)
    return "".join(f"<tspan {style}>{text}</tspan>" if style else text for style, text in runs)


def _screen(screen: pyte.Screen) -> tuple[str, ...]:
    return tuple(_line(screen, number) for number in range(screen.lines))


def _run(command: str, folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Run a command in a pseudo-terminal, and yield what it printed since the last time, every `_STEP` seconds."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.execvpe("bash", ["bash", "-c", command], dict(environment))
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    ends, printed = time.monotonic() + _STEP, b""
    while True:
        ready, _, _ = select.select([terminal], [], [], max(0.0, ends - time.monotonic()))
        if ready:
            try:
                read = os.read(terminal, 65536)
            except OSError:  # the command has ended, and so has its terminal
                break
            printed += read
            continue
        yield printed.decode("utf-8", "replace")
        ends, printed = time.monotonic() + _STEP, b""
    yield printed.decode("utf-8", "replace")
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(terminal)  # not before the command has ended: it would get SIGHUP
    if code:
        sys.exit(f"recording: `{command}` ended with {code}: {printed.decode()}")


def record(folder: Path, environment: Mapping[str, str]) -> list[Frame]:
    """Run the scenes, and return the frames, each different from the one before."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.Stream(screen)
    frames: list[Frame] = []

    def keep(seconds: float) -> None:
        lines = _screen(screen)
        if frames and frames[-1].lines == lines:
            frames[-1] = Frame(lines, frames[-1].seconds + seconds)
        else:
            frames.append(Frame(lines, seconds))

    for command in SCENES:
        stream.feed(f"\x1b[32m$\x1b[0m \x1b[1m{command}\x1b[0m\r\n")
        keep(_BEFORE)
        for printed in _run(command, folder, environment):
            # The paths of this run say nothing to a reader.
            stream.feed(re.sub(re.escape(environment["HOME"]), "~", printed))
            keep(_STEP)
        keep(_AFTER)
    keep(_END)
    return frames


def _moments(frames: list[Frame]) -> str:
    """Return the rules that show one frame after the other, for ever."""
    total, begun, rules = sum(frame.seconds for frame in frames), 0.0, []
    for number, frame in enumerate(frames):
        first, last = (100 * seconds / total for seconds in (begun, begun + frame.seconds))
        begun += frame.seconds
        from_then = "0%{visibility:visible}" if number == 0 else f"{first:.3f}%{{visibility:visible}}"
        until_then = f"{last:.3f}%{{visibility:hidden}}" if number + 1 < len(frames) else ""
        rules.append(f"@keyframes f{number}{{{from_then}{until_then}100%{{visibility:hidden}}}}")
        rules.append(f"#f{number}{{animation:f{number} {total:.2f}s step-end infinite}}")
    # Whoever wants no motion sees the last screen.
    still = f"g{{animation:none!important}}#f{len(frames) - 1}{{visibility:visible}}"
    return "\n".join([*rules, f"@media (prefers-reduced-motion:reduce){{{still}}}"])


def drawn(frames: list[Frame]) -> str:
    """Return the frames as an SVG. A line of text that many frames share is in it once."""
    width, height = round(COLUMNS * _CHARACTER) + 24, ROWS * _LINE + 52
    names = {line: "" for frame in frames for line in frame.lines if line}
    names = {line: f"l{number}" for number, line in enumerate(names)}
    texts = [f'<text id="{name}" xml:space="preserve">{line}</text>' for line, name in names.items()]
    groups = []
    for number, frame in enumerate(frames):
        uses = [f'<use href="#{names[line]}" y="{row * _LINE}"/>' for row, line in enumerate(frame.lines) if line]
        groups.append(f'<g id="f{number}">{"".join(uses)}</g>')
    dots = [
        f'<circle cx="{place}" cy="18" r="6" fill="{colour}"/>'
        for place, colour in ((22, "#f47067"), (42, "#daaa3f"), (62, "#6bc46d"))
    ]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        "<title>cas publish, derive, ls, restore, pin, rollback and history of minilm in a terminal</title>",
        f"<style>{_FONT}g{{visibility:hidden}}",
        _moments(frames),
        f"</style><defs>{''.join(texts)}</defs>",
        f'<rect width="{width}" height="{height}" rx="10" fill="#1c2128" stroke="#444c56"/>',
        *dots,
        '<svg x="12" y="48" overflow="visible">',
        *groups,
        "</svg></svg>\n",
    ]
    return "\n".join(parts)


def main() -> None:
    """Record the scenes and write the file."""
    with tempfile.TemporaryDirectory(prefix="recording-") as temporary:
        folder = Path(temporary)
        home = folder / "home"
        home.mkdir()
        shutil.copytree(model_dir(), folder / "hub" / REPO)
        others = ("CAS_", "HF_", "AWS_", "XDG_")
        own = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**own, "HOME": str(home), "TERM": "xterm-256color", "USER": "ada", "PATH": path}
        with Hub(folder / "hub") as hub:
            FILE.write_text(drawn(record(home, {**environment, "HF_ENDPOINT": hub.url})), encoding="utf-8")


if __name__ == "__main__":
    main()
