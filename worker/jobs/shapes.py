"""Jobs in the words of others: RunPod's own text-to-speech endpoints, and OpenAI's `/v1/audio/speech`.

A job in such a shape is turned into one of ours before it is read, so that there is one schema with one set of limits.
Our own fields may stand beside the foreign ones. What a foreign field asks for and F5-TTS cannot do is left out, and
the answer names it under `ignored`.

Sources: https://docs.runpod.io/public-endpoints/models/chatterbox-turbo (prompt, voice, voice_url, format; output
audio_url, which works for 7 days) and minimax-speech beside it (prompt, voice_id, speed, volume, pitch, emotion,
english_normalization, default_audio_url). OpenAI: https://platform.openai.com/docs/api-reference/audio/createSpeech;
RunPod's proxy below /openai/ puts the path and the body into `openai_route` and `openai_input`, as the handler of
https://github.com/runpod-workers/worker-vllm reads them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

from worker.errors import BadRequest, shown

ROUTE = "/v1/audio/speech"
"""The one path of OpenAI's interface that is answered."""

_RUNPOD = {"prompt": "text", "voice_url": "ref_audio", "voice_id": "voice"}
_RUNPOD_IGNORED = ("volume", "pitch", "emotion", "english_normalization", "default_audio_url")
_OPENAI = {"input": "text", "response_format": "format"}
_OPENAI_IGNORED = ("model", "instructions")


class Shape(Enum):
    """Whose words a job is written in, and is answered in."""

    OURS = "ours"
    RUNPOD = "runpod"
    OPENAI = "openai"


class Asked(NamedTuple):
    """A job in our words.

    Attributes:
        fields: the input, with the names of our fields.
        shape: whose words it was written in.
        names: what the sender calls a field, where that is not our name.
        ignored: foreign fields that have no effect.
    """

    fields: Mapping[str, object]
    shape: Shape = Shape.OURS
    names: Mapping[str, str] = {}
    ignored: tuple[str, ...] = ()


def read(given: Mapping[str, object], *, uploads: bool) -> Asked:
    """Turn a job's input into our words; what is in them already comes back as it is.

    Args:
        given: the input.
        uploads: the worker has a bucket that it can upload audio to.

    Raises:
        BadRequest: it mixes words that mean the same, or asks for another route of OpenAI's.
    """
    names = {name for name, value in given.items() if value is not None}
    if names & {"openai_route", "openai_input"}:
        return _openai(given)
    if names & _RUNPOD.keys():
        return _runpod(given, uploads)
    return Asked(given)


def answer(shape: Shape, output: dict[str, Any]) -> dict[str, Any]:
    """Return a whole answer of ours, or a part of one, as the sender expects it."""
    if shape is not Shape.RUNPOD:
        return output
    if "url" in output:
        return {"audio_url": output["url"], **output}
    audio = output.pop("audio")  # once is enough: RunPod sends back 10 MB at most
    return {"audio_url": f"data:{media_type(output['format'])};base64,{audio}", **output}


def part(shape: Shape, output: dict[str, Any]) -> dict[str, Any] | str:
    """Return a part of a stream of ours as the sender expects it."""
    return _event("speech.audio.delta", output) if shape is Shape.OPENAI else answer(shape, output)


def totals(shape: Shape, output: dict[str, Any]) -> dict[str, Any] | str:
    """Return the end of a stream of ours as the sender expects it."""
    return _event("speech.audio.done", output) if shape is Shape.OPENAI else output


def media_type(format: str) -> str:
    """Return the media type of audio in one of our formats."""
    from worker.jobs.upload import KINDS  # the bucket's modules take a while, and few jobs need this

    return KINDS[format].headers["Content-Type"]


def _runpod(given: Mapping[str, object], uploads: bool) -> Asked:
    present = _present(given, _RUNPOD.keys() | set(_RUNPOD_IGNORED))
    if "voice_url" in present:  # documented: it overrides the voice
        for name in ("voice", "voice_id"):
            present.pop(name, None)
    fields = _renamed(present, _RUNPOD, _RUNPOD_IGNORED)
    if fields.get("format") == "ogg":
        fields["format"] = "opus"  # an Ogg file, too
    if uploads and fields.get("return") is None:
        fields["return"] = "upload"
    names = {"text": "prompt", "ref_audio": "voice_url"} | ({"voice": "voice_id"} if "voice_id" in present else {})
    return Asked(
        fields,
        Shape.RUNPOD,
        {ours: theirs for ours, theirs in names.items() if given.get(ours) is None},
        tuple(name for name in _RUNPOD_IGNORED if name in present),
    )


def _openai(given: Mapping[str, object]) -> Asked:
    if (route := given.get("openai_route")) != ROUTE:
        raise BadRequest(f"openai_route is {shown(route)}: this worker answers {ROUTE}")
    body = given.get("openai_input")
    if not isinstance(body, Mapping):
        raise BadRequest(f"openai_input is {shown(body)}: send an object with input and voice")
    present = _present(body, {*_OPENAI, *_OPENAI_IGNORED, "stream_format", "voice"})
    streaming = present.pop("stream_format", None)
    if streaming not in (None, "audio", "sse"):
        raise BadRequest(f"stream_format is {shown(streaming)}: send one of audio, sse")
    if isinstance(voice := present.get("voice"), Mapping):
        present["voice"] = voice.get("id", voice)
    fields = _renamed(present, _OPENAI, _OPENAI_IGNORED)
    if fields.get("format") is None:
        fields["format"] = "mp3"
    if streaming == "sse":
        fields["stream"] = True
    names = {"text": "input", "format": "response_format"} | ({"stream": "stream_format"} if streaming else {})
    return Asked(
        fields,
        Shape.OPENAI,
        {ours: theirs for ours, theirs in names.items() if body.get(ours) is None},
        tuple(name for name in _OPENAI_IGNORED if name in present),
    )


def _present(given: Mapping[str, object], foreign: set[str]) -> dict[str, object]:
    """Leave out foreign fields that are null; our own are left out when they are read."""
    return {name: value for name, value in given.items() if value is not None or name not in foreign}


def _renamed(given: Mapping[str, object], names: Mapping[str, str], ignored: tuple[str, ...]) -> dict[str, object]:
    fields: dict[str, object] = {}
    theirs: dict[str, str] = {}
    for name, value in given.items():
        if name in ignored:
            continue
        ours = names.get(name, name)
        if fields.get(ours) is not None and value is not None:
            raise BadRequest(f"{name} is given beside {theirs[ours]}, which means the same: leave one of the two out")
        if fields.get(ours) is None:
            fields[ours], theirs[ours] = value, name
    return fields


def _event(kind: str, output: dict[str, Any]) -> str:
    """Return an event of a server-sent stream, in which OpenAI sends audio in parts."""
    return f"data: {json.dumps({'type': kind, **output})}\n\n"
