"""The recording of the README: what a command prints in a terminal becomes frames of an SVG without scripts."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tools import recording

SVG = "{http://www.w3.org/2000/svg}"


def test_what_a_command_draws_anew_is_a_frame_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        recording, "SCENES", ("printf '50 of 100\\r\\033[K'; printf '\\033[31m<done>\\033[0m %s\\n' ~",)
    )
    frames = recording.record(tmp_path, {**os.environ, "HOME": str(tmp_path), "TERM": "xterm-256color"})
    assert [line for line in frames[-1].lines if line][1:] == ['<tspan fill="#f47067">&lt;done&gt;</tspan> ~']
    tree = ElementTree.fromstring(recording.drawn(frames))
    assert len([group for group in tree.iter(f"{SVG}g") if group.get("id")]) == len(frames)
    assert {element.tag.removeprefix(SVG) for element in tree.iter()}.isdisjoint({"script", "foreignObject", "image"})


def test_a_command_that_fails_ends_the_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "SCENES", ("exit 3",))
    with pytest.raises(SystemExit, match="`exit 3` ended with 3"):
        recording.record(tmp_path, {**os.environ, "HOME": str(tmp_path)})


def test_the_recording_of_the_readme_shows_its_commands() -> None:
    tree = ElementTree.fromstring(recording.FILE.read_text("utf-8"))
    shown = {"".join(text.itertext()) for text in tree.iter(f"{SVG}text")}
    assert {f"$ {command}" for command in recording.SCENES} <= shown
