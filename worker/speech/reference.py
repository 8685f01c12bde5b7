"""The recording in whose voice F5-TTS speaks, prepared as F5-TTS's `preprocess_ref_audio_text` does it.

That function writes a temporary file for each recording, remembers its name as long as the process runs, and loads
Whisper when the text is empty. `prepare` works in memory, remembers nothing, and requires the text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from cas.errors import InputError
from worker.speech import sound
from worker.speech.sound import AudioSegment, silence

MAX_MILLISECONDS = 12_000
_ENOUGH = 6_000  # milliseconds after which the next pause may be the end
_SHORTEST = 200  # milliseconds
_SILENT = -42  # dBFS; what is quieter at the ends is cut off


class Voice(NamedTuple):
    """A recording that is ready to be imitated.

    Attributes:
        samples: shape (channels, frames), -1 to 1.
        rate: frames in a second.
        text: what is said.
    """

    samples: sound.Samples
    rate: int
    text: str

    @property
    def seconds(self) -> float:
        """Return the length in seconds."""
        return float(self.samples.shape[-1] / self.rate)


def prepare(audio: bytes, text: str) -> Voice:
    """Decode a recording, cut it at a pause to at most 12 s, and trim silence at both ends.

    Args:
        audio: a wav, flac, mp3 or ogg file.
        text: what is said in it.

    Raises:
        InputError: the audio cannot be used, or there is no text.
    """
    if not text.strip():
        raise InputError("the text of the reference audio is empty: send what is said in it")
    return Voice(*_trimmed(sound.segment(sound.decode(audio))), _ended(text))


def _trimmed(audio: Any) -> tuple[sound.Samples, int]:
    kept = _up_to_a_pause(
        silence.split_on_silence(audio, min_silence_len=1000, silence_thresh=-50, keep_silence=1000, seek_step=10)
    )
    if len(kept) > MAX_MILLISECONDS:
        kept = _up_to_a_pause(
            silence.split_on_silence(audio, min_silence_len=100, silence_thresh=-40, keep_silence=1000, seek_step=10)
        )
    kept = _without_silent_ends(kept[:MAX_MILLISECONDS])
    if len(kept) < _SHORTEST:
        raise InputError("the reference audio is silent, or too short: send a recording of a few seconds of speech")
    kept += AudioSegment.silent(duration=50)
    return sound.floats(kept), kept.frame_rate


def _up_to_a_pause(pieces: Iterable[Any]) -> Any:
    kept = AudioSegment.silent(duration=0)
    for piece in pieces:
        if len(kept) > _ENOUGH and len(kept + piece) > MAX_MILLISECONDS:
            break
        kept += piece
    return kept


def _without_silent_ends(audio: Any) -> Any:
    """As f5_tts.infer.utils_infer.remove_silence_edges."""
    audio = audio[silence.detect_leading_silence(audio, silence_threshold=_SILENT) :]
    end = silence.detect_leading_silence(audio.reverse(), silence_threshold=_SILENT)
    return audio[: len(audio) - end] if end else audio


def _ended(text: str) -> str:
    """Return the text with the end of a sentence, by which F5-TTS tells where the new text begins."""
    if text.endswith((". ", "。")):
        return text
    return text + (" " if text.endswith(".") else ". ")
