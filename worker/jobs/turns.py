"""A text for several voices, cut where the voice changes, by the grammar of F5-TTS's own command line.

f5_tts/infer/infer_cli.py cuts the text before each `[name]`, where a name is letters, digits and underscores of any
script. What stands before the first one is spoken by the voice `main`, and `[main]` goes back to it. Other text in
square brackets, such as `[a pause]`, is no name and is spoken. F5-TTS speaks the text of a name that it does not know
with the main voice; here that is an error, since it may as well be a sound (`[laughs]`) or a slip of the pen.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from worker.errors import BadRequest
from worker.jobs.fields import is_spoken

MAIN = "main"
"""The name of the voice that a job names by `ref_audio` or `voice`."""

_NAME = re.compile(r"\[(\w+)\]")
_BEFORE_NAME = re.compile(r"(?=\[\w+\])")
_LISTED = 300  # characters of names in an error
_SHOWN = 60  # characters of the name that is wrong


class Turn(NamedTuple):
    """What one voice says before the next does.

    Attributes:
        voice: its name.
        text: what it says, without the name.
    """

    voice: str
    text: str


def read_turns(text: str, voices: Collection[str], field: str) -> tuple[Turn, ...]:
    """Return what each voice says, in order; a name with nothing to speak after it makes no turn.

    Args:
        text: the whole text.
        voices: the names that may be used beside MAIN.
        field: what to call the text in an error.

    Raises:
        BadRequest: a name has no voice, or there is nothing but names.
    """
    turns = []
    for piece in _BEFORE_NAME.split(text):
        found = _NAME.match(piece)
        voice = found[1] if found else MAIN
        if voice != MAIN and voice not in voices:
            raise _unknown(voice, voices, field)
        if is_spoken(spoken := piece[found.end() if found else 0 :].strip()):
            turns.append(Turn(voice, spoken))
    if not turns:
        raise BadRequest(f"{field} has nothing to speak in it but names of voices: write what each of them says")
    return tuple(turns)


def is_name(name: str) -> bool:
    """Whether `name` in square brackets is read as the name of a voice."""
    return _NAME.fullmatch(f"[{name}]") is not None


def _unknown(voice: str, voices: Collection[str], field: str) -> BadRequest:
    known = ", ".join(ascii(name)[1:-1] for name in (MAIN, *voices))
    known = known if len(known) <= _LISTED else known[:_LISTED] + "..."
    name = ascii(voice[:_SHOWN])[1:-1][:_SHOWN]
    return BadRequest(
        f"{field} has [{name}], but no voice of that name: there are {known}; add it to voices, or write ({name})"
    )
