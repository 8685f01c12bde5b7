"""The voices that a job brings or names: one to speak in, and more of them for a text that several voices speak."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from cas.formats.manifest import NAME_PATTERN
from worker.errors import BadRequest, shown
from worker.jobs import reference_url
from worker.jobs.audio_input import MAX_AUDIO, from_base64
from worker.jobs.fields import Fields
from worker.jobs.turns import MAIN, is_name

MAX_REF_TEXT = 1000
"""Longest `ref_text`, in characters: it says what is heard in at most 12 s."""

MAX_VOICES = 16
"""Most voices in `voices`."""

MAX_AUDIO_TOGETHER = 2 * MAX_AUDIO
"""Most bytes of all recordings of one job."""

SPEEDS = (0.3, 2.0)
"""The slowest and the fastest `speed`; 1 is as fast as the reference."""

FIELDS = ("ref_audio", "ref_text", "voice", "speed")
"""The fields of one of the `voices`."""

_LONGEST_NAME = 64
_NAME = re.compile(NAME_PATTERN)


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


class Reference(msgspec.Struct, frozen=True):
    """One of several voices.

    Attributes:
        source: the voice.
        speed: how fast it speaks; None is as fast as the job says.
    """

    source: Source
    speed: float | None = None


def read_source(fields: Fields) -> Source:
    """Return the voice that `voice`, or `ref_audio` and `ref_text`, give.

    Raises:
        BadRequest: they give none, or two, or cannot be used.
    """
    if "voice" in fields:
        for name in ("ref_audio", "ref_text"):
            if name in fields:
                raise BadRequest(
                    f"{fields.label(name)} is given beside {fields.label('voice')}, which has its own: leave one "
                    "of the two out"
                )
        return _named(fields.string("voice"), fields.label("voice"))
    label = fields.label("ref_audio")
    if "ref_audio" not in fields:
        raise BadRequest(f"{label} is missing: send audio in base64 or its https URL, or name a voice instead")
    audio = fields.string("ref_audio")
    text = fields.spoken("ref_text", MAX_REF_TEXT, f"what is said in {label}")
    if "://" in audio[:12]:
        reference_url.check_url(audio, label)
        return Linked(audio, text)
    return Inline(from_base64(audio, label), text)


def read_voices(fields: Fields) -> dict[str, Reference]:
    """Return the voices that `voices` gives, by their names in the text.

    Raises:
        BadRequest: they are too many, or one of them cannot be named or used.
    """
    given = fields.value("voices")
    if isinstance(given, list):
        if wrong := [name for name in given if not isinstance(name, str)]:
            raise BadRequest(f"voices has {shown(wrong[0])} in its list: send names of voices in the bucket")
        given = {name: name for name in given}
    if not isinstance(given, Mapping):
        raise BadRequest(
            f"voices is {shown(given)}: send an object with a voice for each name, or a list of names in the bucket"
        )
    if len(given) > MAX_VOICES:
        raise BadRequest(f"voices has {len(given)} voices: at most {MAX_VOICES} are allowed")
    return {name: _reference(name, one) for name, one in given.items()}


def field_of(name: str) -> str:
    """Return what an error calls one of the `voices`."""
    return f"voices.{ascii(name)[1:-1][:_LONGEST_NAME]}"


def check_together(size: int) -> None:
    """Check how much audio there is.

    Args:
        size: bytes of all recordings of one job.

    Raises:
        BadRequest: it is too much.
    """
    if size > MAX_AUDIO_TOGETHER:
        raise BadRequest(f"the recordings of the voices have {size} bytes: at most {MAX_AUDIO_TOGETHER} are allowed")


def _reference(name: str, given: object) -> Reference:
    if not is_name(name) or len(name) > _LONGEST_NAME:
        raise BadRequest(
            f"voices has the name {shown(name)}, which cannot be written as [name] in the text: use letters, digits "
            f"and _, at most {_LONGEST_NAME}"
        )
    if name == MAIN:
        raise BadRequest("voices has the name main, which is that of the job's own voice: choose another name")
    field = field_of(name)
    if isinstance(given, str):
        return Reference(_named(given, field))
    if not isinstance(given, Mapping):
        raise BadRequest(f"{field} is {shown(given)}: send an object with {', '.join(FIELDS)}")
    fields = Fields(given, FIELDS, prefix=f"{field}.")
    return Reference(read_source(fields), fields.number("speed", 1.0, *SPEEDS) if "speed" in fields else None)


def _named(name: str, field: str) -> Named:
    if not _NAME.fullmatch(name):
        raise BadRequest(
            f"{field} is {shown(name)}: a name has letters, digits, '.', '_' and '-', at most 96, and begins with a "
            "letter or digit"
        )
    return Named(name)
