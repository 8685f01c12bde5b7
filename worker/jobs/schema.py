"""What a job may ask for: any JSON that arrives becomes a Request, or one sentence that says what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from worker.errors import BadRequest, shown
from worker.jobs import shapes
from worker.jobs.fields import Fields
from worker.jobs.references import SPEEDS, Inline, Reference, Source, check_together, read_source, read_voices
from worker.jobs.shapes import Shape
from worker.jobs.turns import MAIN, Turn, read_turns
from worker.speech.speaker import MAX_SEED, Manner, a_seed

MAX_TEXT = 5000
"""Longest `text`, in characters: about six minutes of speech."""

FORMATS = ("wav", "flac", "mp3", "opus", "pcm")
RETURNS = ("base64", "upload")
FIELDS = (
    "text",
    "ref_audio",
    "ref_text",
    "voice",
    "voices",
    "speed",
    "nfe_step",
    "cfg_strength",
    "seed",
    "remove_silence",
    "format",
    "return",
    "stream",
)


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
        voices: more voices, by their names in the text.
        turns: which voice says what; empty if there is but one voice.
        shape: whose words the input was written in; the answer uses the same.
        ignored: fields of the input that have no effect.
        names: what the sender calls a field, where that is not our name.
    """

    text: str
    source: Source
    manner: Manner
    remove_silence: bool = False
    format: str = "wav"
    deliver: str = "base64"
    stream: bool = False
    voices: dict[str, Reference] = {}
    turns: tuple[Turn, ...] = ()
    shape: Shape = Shape.OURS
    ignored: tuple[str, ...] = ()
    names: Mapping[str, str] = {}

    @property
    def spoken(self) -> dict[str, Reference]:
        """The voices that say something, by their names."""
        names = dict.fromkeys(turn.voice for turn in self.turns) or (MAIN,)
        return {name: Reference(self.source) if name == MAIN else self.voices[name] for name in names}


def parse(given: object, *, uploads: bool = False) -> Request:
    """Return the Request that a job's `input` makes.

    Args:
        given: the input.
        uploads: the worker has a bucket that it can upload audio to.

    Raises:
        BadRequest: the input is wrong; the message is about the first thing that is wrong with it.
    """
    if not isinstance(given, Mapping):
        raise BadRequest(f"input is {shown(given)}: send an object with text, ref_audio and ref_text")
    asked = shapes.read(given, uploads=uploads)
    fields = Fields(asked.fields, FIELDS, names=asked.names)
    text = fields.spoken("text", MAX_TEXT, "what to say")
    source = read_source(fields)
    voices = read_voices(fields) if "voices" in fields else {}
    turns = read_turns(text, voices, fields.label("text")) if "voices" in fields else ()
    sources = (source, *(voice.source for voice in voices.values()))
    check_together(sum(len(each.audio) for each in sources if isinstance(each, Inline)))
    return Request(
        text=text,
        source=source,
        manner=Manner(
            seed=fields.integer("seed", a_seed(), 0, MAX_SEED),
            speed=fields.number("speed", 1.0, *SPEEDS),
            nfe_step=fields.integer("nfe_step", 32, 1, 64),
            cfg_strength=fields.number("cfg_strength", 2.0, 0.0, 10.0),
        ),
        remove_silence=fields.flag("remove_silence"),
        format=fields.choice("format", FORMATS),
        deliver=fields.choice("return", RETURNS),
        stream=fields.flag("stream"),
        voices=voices,
        turns=turns,
        shape=asked.shape,
        ignored=asked.ignored,
        names=asked.names,
    )
