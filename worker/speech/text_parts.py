"""A long text in parts that F5-TTS can speak at once, and the waves of the parts faded into one."""

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
"""Most frames of mel spectrogram in one part, with the reference: F5-TTS has so many positions for text (87 s)."""

MAX_SECONDS = 1800.0
"""Most seconds of speech that one text may take."""

_AFTER_SENTENCE = re.compile(r"(?<=[.!?…])\s+|(?<=[\u3002\uff01\uff1f])|\n+")
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

    Raises:
        InputError: the texts would take too long in this voice: the recording may be slow, or its text wrong.
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
