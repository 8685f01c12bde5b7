"""A long text in parts that F5-TTS can speak at once, and the waves of the parts faded into one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from cas.errors import InputError
from worker.speech.reference import Voice
from worker.speech.sound import Samples
from worker.speech.spectrum import HOP, RATE

MAX_FRAMES = 8192
"""Most frames of mel spectrogram in one part, with the reference: F5-TTS has so many positions for text (87 s)."""

MAX_SECONDS = 1800.0
"""Most seconds of speech that one text may take."""

CROSS_FADE = 0.15
"""Seconds over which F5-TTS fades one part into the next."""

_AFTER_SENTENCE = re.compile(r"(?<=[.!?…])\s+|(?<=[\u3002\uff01\uff1f])|\n+")
_AFTER_CLAUSE = re.compile(r"(?<=[;:,.!?])\s+|(?<=[\uff1b\uff1a\uff0c\u3002\uff01\uff1f])")
_SHORTEST = 20  # bytes of a sentence: F5-TTS drawls text of fewer than 10
_SECONDS_AT_A_TIME = 22  # reference and new speech together: F5-TTS aims at this when it splits a text


def sentences(text: str) -> list[str]:
    """Split a text into sentences; one too short to be spoken well joins the next, the last joins the one before."""
    found: list[str] = []
    for sentence in filter(str.strip, _AFTER_SENTENCE.split(text)):
        if found and len(found[-1].encode()) < _SHORTEST:
            found[-1] = f"{found[-1]} {sentence.strip()}"
        else:
            found.append(sentence.strip())
    if len(found) > 1 and len(found[-1].encode()) < _SHORTEST:
        last = found.pop()
        found[-1] = f"{found[-1]} {last}"
    return found


def split(texts: list[str], voice: Voice, speed: float) -> list[str]:
    """Split each text as F5-TTS does, at punctuation, so that each part and the reference take about 22 s.

    Text with too little punctuation for F5-TTS's longest part is split between words, or within them.

    Args:
        texts: what to say; no part spans two of them.
        voice: the reference, which tells how fast its speaker speaks.
        speed: 1.0 is as fast as the reference.

    """
    rate_of_speech = len(voice.text.encode()) / voice.seconds
    most = int(rate_of_speech * (_SECONDS_AT_A_TIME - voice.seconds) * speed)
    parts: list[str] = []
    for part in (part for text in texts for part in chunks(text, most)):
        parts += [part] if _frames(part, voice, speed) <= MAX_FRAMES else _between_words(part, max(most, 10))
    return [part for part in parts if part.strip()]


def seconds(parts: list[str], voice: Voice, speed: float) -> float:
    """Return how many seconds of speech F5-TTS makes of the parts of a text.

    Args:
        parts: as `split` returns them.
        voice: the reference, which tells how fast its speaker speaks.
        speed: 1.0 is as fast as the reference.
    """
    before = _frames("", voice, speed)
    frames = sum(_frames(part, voice, speed) - before for part in parts)
    return frames * HOP / RATE


def check_length(seconds: float) -> None:
    """Check how long a whole text would take.

    Raises:
        InputError: too long: a recording may be slow, or its text wrong.
    """
    if seconds > MAX_SECONDS:
        raise InputError(
            f"text would take about {seconds / 60:.0f} minutes in this voice, {MAX_SECONDS / 60:.0f} are allowed: send "
            "less, or look whether ref_text is all that is said in ref_audio"
        )


def chunks(text: str, most: int) -> list[str]:
    """Split a text after punctuation, as f5_tts.infer.utils_infer.chunk_text does.

    Args:
        text: what to split.
        most: bytes of a chunk, if there is punctuation enough.
    """
    found = [""]
    for clause in filter(None, _AFTER_CLAUSE.split(text)):
        ended = f"{clause} " if len(clause[-1].encode()) == 1 else clause
        if len(found[-1].encode()) + len(clause.encode()) <= most:
            found[-1] += ended
        else:
            found.append(ended)
    return [chunk.strip() for chunk in found if chunk]


def faded(waves: Iterator[Any], count: int, overlap: int) -> Iterator[Samples]:
    """Fade each wave into the next, as F5-TTS's cross-fade does.

    A wave is yielded at once except for its end, which the next wave is faded into.

    Args:
        waves: the audio of each part.
        count: how many waves there are.
        overlap: samples over which two waves are faded.
    """
    pending = np.zeros(0, np.float32)
    for number, wave in enumerate(waves, 1):
        size = min(overlap, len(pending), len(wave))
        fading = pending[len(pending) - size :] * np.linspace(1, 0, size) + wave[:size] * np.linspace(0, 1, size)
        joined = np.concatenate([pending[: len(pending) - size], fading, wave[size:]])
        end = len(joined) if number == count else max(len(joined) - overlap, 0)
        yield joined[:end].astype(np.float32)
        pending = joined[end:]


def _frames(part: str, voice: Voice, speed: float) -> int:
    """Count a part's frames as f5_tts.infer.utils_infer.infer_batch_process does, which speaks short parts slowly."""
    before = int(voice.seconds * RATE) // HOP
    size = len(part.encode())
    return before + int(before / len(voice.text.encode()) * size / (0.3 if size < 10 else speed))


def _between_words(part: str, most: int) -> list[str]:
    found = [""]
    for word in part.split():
        for piece in [word[at : at + most] for at in range(0, len(word), most)]:
            joined = f"{found[-1]} {piece}".strip()
            if len(joined.encode()) <= most:
                found[-1] = joined
            else:
                found.append(piece)
    return found
