"""A long text in parts that F5-TTS can say, and their waves faded into one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from f5_tts.infer.utils_infer import chunk_text, hop_length, target_sample_rate

from cas.errors import InputError
from worker.speech.reference import Voice
from worker.speech.sound import Samples

MAX_FRAMES = 8192
"""Of mel spectrogram, reference included: for so many F5-TTS has positions for the text (87 s)."""

MAX_SECONDS = 1800.0
"""Of speech that one text may take."""

_AFTER_SENTENCE = re.compile(r"(?<=[.!?…])\s+|(?<=[\u3002\uff01\uff1f])|\n+")
_SHORTEST = 20  # bytes: F5-TTS drawls what has fewer than 10
_SECONDS_AT_A_TIME = 22  # reference and new speech together: what F5-TTS aims at when it splits a text


def sentences(text: str) -> list[str]:
    """The sentences of a text; one that is too short to be said well goes with the next, the last with that before."""
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
    """Splits each text as F5-TTS does, at punctuation, so that each part and the reference take about 22 s.

    What has too little punctuation for F5-TTS's longest part is split between words, or within them. Raises
    InputError for texts that in this voice would take too long: recordings may be slow, and their texts wrong.
    """
    rate_of_speech = len(voice.text.encode()) / voice.seconds
    most = int(rate_of_speech * (_SECONDS_AT_A_TIME - voice.seconds) * speed)
    parts: list[str] = []
    for part in (part for text in texts for part in chunk_text(text, max_chars=most)):
        parts += [part] if _frames(part, voice, speed) <= MAX_FRAMES else _between_words(part, max(most, 10))
    parts = [part for part in parts if part.strip()]
    before = _frames("", voice, speed)
    seconds = sum(_frames(part, voice, speed) - before for part in parts) * hop_length / target_sample_rate
    if seconds > MAX_SECONDS:
        raise InputError(
            f"text would take about {seconds / 60:.0f} minutes in this voice, {MAX_SECONDS / 60:.0f} are allowed: send "
            "less, or look whether ref_text is all that is said in ref_audio"
        )
    return parts


def faded(waves: Iterator[Any], count: int, overlap: int) -> Iterator[Samples]:
    """Yields `count` waves so that one after the other they are what F5-TTS's cross-fade over `overlap` samples makes.

    Each is yielded at once, but for its end, into which the next one will be faded.
    """
    held = np.zeros(0, np.float32)
    for number, wave in enumerate(waves, 1):
        size = min(overlap, len(held), len(wave))
        fading = held[len(held) - size :] * np.linspace(1, 0, size) + wave[:size] * np.linspace(0, 1, size)
        joined = np.concatenate([held[: len(held) - size], fading, wave[size:]])
        end = len(joined) if number == count else max(len(joined) - overlap, 0)
        yield joined[:end].astype(np.float32)
        held = joined[end:]


def _frames(part: str, voice: Voice, speed: float) -> int:
    """Of mel spectrogram, as in f5_tts.infer.utils_infer.infer_batch_process, which speaks short parts slowly."""
    before = int(voice.seconds * target_sample_rate) // int(hop_length)
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
