"""What a job may ask for: any JSON that arrives becomes a Request, or one sentence that says what is wrong with it."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from cas.formats.manifest import NAME_PATTERN
from worker.errors import BadRequest, shown
from worker.jobs import reference_url
from worker.jobs.audio_input import from_base64
from worker.speech.speaker import MAX_SEED, Manner, a_seed

MAX_TEXT = 5000
"""Longest `text`, in characters: about six minutes of speech."""

MAX_REF_TEXT = 1000
"""Longest `ref_text`, in characters: it says what is heard in at most 12 s."""

FORMATS = ("wav", "flac", "mp3")
RETURNS = ("base64", "upload")
FIELDS = (
    "text",
    "ref_audio",
    "ref_text",
    "voice",
    "speed",
    "nfe_step",
    "cfg_strength",
    "seed",
    "remove_silence",
    "format",
    "return",
    "stream",
)

_NAME = re.compile(NAME_PATTERN)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_LETTERS_AND_DIGITS = "LN"  # first letters of Unicode's general categories


class Inline(msgspec.Struct, frozen=True):
    """A reference that was sent with the job.

    Attributes:
        audio: bytes of an audio file.
        text: what is said in it.
    """

    audio: bytes
    text: str


class Linked(msgspec.Struct, frozen=True):
    """A reference that is to be downloaded.

    Attributes:
        url: an https URL.
        text: what is said in the recording.
    """

    url: str
    text: str


class Named(msgspec.Struct, frozen=True):
    """A reference in the bucket.

    Attributes:
        name: the reference is in `voices/<name>/`.
    """

    name: str


Source: TypeAlias = Inline | Linked | Named


class Request(msgspec.Struct, frozen=True):
    """A job's input, checked and with all defaults.

    Attributes:
        text: what to say.
        source: the voice to say it in.
        manner: how to say it.
        remove_silence: cut long pauses out of the result.
        format: of the audio in the answer: one of FORMATS.
        deliver: how the audio gets to the sender: one of RETURNS.
        stream: send each sentence as soon as it is spoken.
    """

    text: str
    source: Source
    manner: Manner
    remove_silence: bool = False
    format: str = "wav"
    deliver: str = "base64"
    stream: bool = False


def parse(given: object) -> Request:
    """Return the Request that a job's `input` makes.

    Raises:
        BadRequest: the input is wrong; the message is about the first thing that is wrong with it.
    """
    if not isinstance(given, Mapping):
        raise BadRequest(f"input is {shown(given)}: send an object with text, ref_audio and ref_text")
    for name in given:
        if name not in FIELDS:
            raise _unknown(name)
    fields = {name: value for name, value in given.items() if value is not None}
    return Request(
        text=_text(fields, "text", MAX_TEXT),
        source=_source(fields),
        manner=Manner(
            seed=_integer(fields, "seed", a_seed(), 0, MAX_SEED),
            speed=_number(fields, "speed", 1.0, 0.3, 2.0),
            nfe_step=_integer(fields, "nfe_step", 32, 1, 64),
            cfg_strength=_number(fields, "cfg_strength", 2.0, 0.0, 10.0),
        ),
        remove_silence=_flag(fields, "remove_silence"),
        format=_choice(fields, "format", FORMATS),
        deliver=_choice(fields, "return", RETURNS),
        stream=_flag(fields, "stream"),
    )


def check_spoken(text: str, field: str, limit: int) -> str:
    """Return `text` without blanks around it.

    Args:
        text: what is to be spoken, or was spoken.
        field: what to call it in the error.
        limit: characters that it may have.

    Raises:
        BadRequest: it is too long, or cannot be spoken.
    """
    if len(text) > limit:
        raise BadRequest(f"{field} has {len(text)} characters: at most {limit} are allowed")
    if found := _CONTROL.search(text):
        raise BadRequest(f"{field} contains the control character U+{ord(found.group()):04X}: leave it out")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRequest(f"{field} is not valid Unicode at character {error.start + 1}: send UTF-8") from None
    if not any(unicodedata.category(character)[0] in _LETTERS_AND_DIGITS for character in text):
        raise BadRequest(f"{field} has nothing to speak in it: write at least one letter or digit")
    return text.strip()


def _source(fields: Mapping[str, object]) -> Source:
    if "voice" in fields:
        for name in ("ref_audio", "ref_text"):
            if name in fields:
                raise BadRequest(f"{name} is given beside voice, which has its own: leave one of the two out")
        voice = _string(fields, "voice")
        if not _NAME.fullmatch(voice):
            raise BadRequest(
                f"voice is {shown(voice)}: a name has letters, digits, '.', '_' and '-', at most 96, and begins with a "
                "letter or digit"
            )
        return Named(voice)
    if "ref_audio" not in fields:
        raise BadRequest("ref_audio is missing: send audio in base64 or its https URL, or name a voice instead")
    audio = _string(fields, "ref_audio")
    text = _text(fields, "ref_text", MAX_REF_TEXT)
    if "://" in audio[:12]:
        reference_url.check_url(audio)
        return Linked(audio, text)
    return Inline(from_base64(audio, "ref_audio"), text)


def _text(fields: Mapping[str, object], name: str, limit: int) -> str:
    if name not in fields:
        what = "what to say" if name == "text" else "what is said in ref_audio"
        raise BadRequest(f"{name} is missing: write {what}, 1 to {limit} characters")
    return check_spoken(_string(fields, name), name, limit)


def _string(fields: Mapping[str, object], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise BadRequest(f"{name} is {shown(value)}: send a string")
    return value


def _number(fields: Mapping[str, object], name: str, default: float, least: float, most: float) -> float:
    value = fields.get(name, default)
    # NaN is in no range; a bool is an int to Python.
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise BadRequest(f"{name} is {shown(value)}: send a number from {least} to {most}")
    return float(value)


def _integer(fields: Mapping[str, object], name: str, default: int, least: int, most: int) -> int:
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadRequest(f"{name} is {shown(value)}: send an integer from {least} to {most}")
    return value


def _flag(fields: Mapping[str, object], name: str) -> bool:
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise BadRequest(f"{name} is {shown(value)}: send true or false")
    return value


def _choice(fields: Mapping[str, object], name: str, allowed: tuple[str, ...]) -> str:
    value = fields.get(name, allowed[0])
    if not isinstance(value, str) or value not in allowed:
        raise BadRequest(f"{name} is {shown(value)}: send one of {', '.join(allowed)}")
    return value


def _unknown(name: object) -> BadRequest:
    near = difflib.get_close_matches(name[:60].lower(), FIELDS, 1) if isinstance(name, str) else []
    return BadRequest(
        f"{shown(name)} is not a field: did you mean {near[0]}?"
        if near
        else f"{shown(name)} is not a field: the fields are {', '.join(FIELDS)}"
    )
